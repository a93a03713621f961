/** The shared folder in numbers. */
import { Gauge } from 'prom-client'
import type { Metrics } from '../../lib/metrics.ts'
import type { FolderState } from './folder.ts'

/** @param state read when the metrics are asked for */
export function observeFolder(deps: { metrics: Metrics }, state: () => FolderState): void {
  const registers = [deps.metrics]
  const show = (gauge: Gauge, value: number | null | undefined) => {
    if (value === null || value === undefined) gauge.remove()
    else gauge.set(value)
  }
  new Gauge({
    name: 'keepwatch_folder_usable',
    help: '1 if the shared folder can be written and read; absent while none is set.',
    registers,
    collect() {
      const { path, usable } = state()
      show(this, path === null ? null : Number(usable))
    },
  })
  new Gauge({
    name: 'keepwatch_folder_free_bytes',
    help: 'Free bytes in the shared folder.',
    registers,
    collect() {
      show(this, state().freeBytes)
    },
  })
  new Gauge({
    name: 'keepwatch_folder_latency_seconds',
    help: 'Time to write, sync and rename one small file in the shared folder.',
    registers,
    collect() {
      const { latencyMs } = state()
      show(this, latencyMs === null ? null : latencyMs / 1000)
    },
  })
  new Gauge({
    name: 'keepwatch_folder_abandoned_processes',
    help: 'Processes that hang in the shared folder and end when it answers.',
    registers,
    collect() {
      show(this, state().abandoned)
    },
  })
  new Gauge({
    name: 'keepwatch_folder_spool_waiting_segments',
    help: 'Segments of this server’s own collector that are not in the shared folder.',
    registers,
    collect() {
      show(this, state().spool?.waiting)
    },
  })
  new Gauge({
    name: 'keepwatch_folder_spool_lag_seconds',
    help: 'Age of the oldest of them.',
    registers,
    collect() {
      const lagMs = state().spool?.lagMs
      show(this, lagMs === undefined ? null : lagMs / 1000)
    },
  })
}
