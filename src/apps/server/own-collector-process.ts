/**
 * The process of a server's own collector: whatever keeps the server's main loop busy does not keep
 * datagrams waiting in the sockets. It is told what to do by the server over IPC, and ends with it:
 * what it has decoded by then is still written to the spool, for at most half a second.
 */

import { createCollector, type PairCollector } from '../../collect/collector.ts'
import { loadSockets } from '../../collect/sockets.ts'
import { loadZstd } from '../../collect/zstd.ts'
import { systemClock } from '../../lib/clock.ts'
import { createLog } from '../../lib/log.ts'
import { createMetrics } from '../../lib/metrics.ts'
import type { OwnCollectorOrder, OwnCollectorReport } from './own-collector-protocol.ts'

const stateMs = 1000
const lastWritesMs = 500

type Open = OwnCollectorOrder & { type: 'open' }

let collector: PairCollector | undefined
let ending = false

process.once('disconnect', () => {
  // A disk that hangs must not keep the ports from the server's successor.
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), lastWritesMs)
  void (collector?.abandon(lastWritesMs) ?? Promise.resolve()).finally(() =>
    process.kill(process.pid, 'SIGKILL'),
  )
})

process.on('message', (order: OwnCollectorOrder) => {
  switch (order.type) {
    case 'open':
      return void open(order)
    case 'role':
      collector?.setRole({ active: order.active, term: order.term }, order.storing)
      collector?.setAnswering(order.answering)
      return report({ type: 'heard', id: order.id })
    case 'servers':
      return collector?.setServers(order.servers)
    case 'claim':
      return void claim(order)
    case 'alive':
      return collector?.otherIsAlive()
    case 'hello':
      collector?.otherBegins(order.server)
      return report({ type: 'heard', id: order.id })
    case 'counters':
      return collector?.takeCounters(order.exporter, order.counters)
    case 'ended':
      return collector?.ended(order.segment, order.stored, order.storing)
    case 'stop':
      return void stop()
  }
})

async function open({ settings, pair, identity, version, streamTls, log: level }: Open) {
  const log = createLog({ level, part: `${settings.name} collector` })
  const opened = createCollector(
    {
      identity,
      streamTls,
      log,
      metrics: createMetrics({}),
      clock: systemClock,
      version,
      sockets: loadSockets(),
      zstd: loadZstd(),
    },
    { ...settings, pair },
  )
  try {
    await opened.start()
  } catch (error) {
    report({ type: 'failed', message: (error as Error).message }, () => process.exit(1))
    return
  }
  collector = opened
  report({ type: 'ready', collector: opened.id, ports: opened.ports })
  setInterval(() => {
    if (!ending) report({ type: 'state', state: opened.state(), ports: opened.ports })
  }, stateMs)
}

async function claim(order: OwnCollectorOrder & { type: 'claim' }) {
  const { id, segment, manifest, ageMs, stored } = order
  try {
    if (collector === undefined) throw new Error('the collector is not open yet')
    const answer = await collector.claim({
      segment,
      manifest: Buffer.from(manifest),
      ageMs,
      stored,
    })
    report({ type: 'claimed', id, answer })
  } catch (error) {
    report({ type: 'not-claimed', id, message: (error as Error).message })
  }
}

async function stop() {
  ending = true
  try {
    await collector?.stop()
  } finally {
    process.exit(0)
  }
}

function report(message: OwnCollectorReport, sent: () => void = () => {}) {
  // A server that is gone is noticed by `disconnect`.
  process.send?.(message, sent)
}
