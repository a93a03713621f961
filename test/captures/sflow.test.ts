/** sFlow datagrams of real devices, compared with what tshark reads in them. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseAddress } from '../../src/telemetry/address.ts'
import { createBatch } from '../../src/telemetry/batch.ts'
import { counterTable } from '../../src/telemetry/counter.ts'
import { flowTable } from '../../src/telemetry/flow.ts'
import { decodeNative, encodeNative } from '../../src/telemetry/native.ts'
import { createFlowDecoder } from '../../src/wire/flow-decoder.ts'
import type { FlowProblem } from '../../src/wire/problems.ts'
import { decodeSflow } from '../../src/wire/sflow.ts'
import { countersByTshark, type Datagram, readByTshark, readPcap } from './sflow-captures.ts'

const folder = join(import.meta.dirname, '../../../shared/captures/flow/tcpdump')
const skip = !existsSync(folder)
  ? ` (skipped: no captures in ${folder})`
  : spawnSync('tshark', ['--version']).status !== 0
    ? ' (skipped: no tshark)'
    : ''

function decode(datagrams: Datagram[]) {
  const problems: FlowProblem[] = []
  const batch = createBatch(flowTable, 10_000, () => {})
  for (const { payload, seconds } of datagrams) {
    decodeSflow(payload, seconds * 1000, batch, problem => problems.push(problem))
  }
  return { rows: decodeNative(encodeNative(batch), flowTable).toRows(), problems }
}

function decodeCounters(datagrams: Datagram[]) {
  const batch = createBatch(flowTable, 10_000, () => {})
  const counters = createBatch(counterTable, 10_000, () => {})
  const decoder = createFlowDecoder({ batch, counters, onProblem: () => {} })
  for (const { payload, seconds } of datagrams) {
    decoder.decode(payload, parseAddress('192.0.2.1')!, 6343, seconds * 1000)
  }
  return decodeNative(encodeNative(counters), counterTable).toRows()
}

describe.skipIf(skip !== '')(`sFlow of real devices${skip}`, () => {
  test.each([
    ['sflow_expanded.pcap', 1],
    ['sflow-print-v6.pcap', 1],
  ])('%s is read as tshark reads it', (name, atLeast) => {
    const path = join(folder, name)
    const expected = readByTshark(path)
    const { rows, problems } = decode(readPcap(path))
    expect(problems).toEqual([])
    expect(rows.length).toBeGreaterThanOrEqual(atLeast)
    expect(rows).toHaveLength(expected.length)
    expect(rows).toMatchObject(expected)
  })

  test('the gateway and router of an expanded sample are told', () => {
    expect(decode(readPcap(join(folder, 'sflow_expanded.pcap'))).rows).toMatchObject([
      { src_as: 203476, dst_as: 0x31a61, next_hop: '54.54.54.54', src_mask: 32, dst_mask: 22 },
    ])
  })

  test('counter samples give no row, and NetFlow on the sFlow port is told apart', () => {
    const { rows, problems } = decode(readPcap(join(folder, 'sflow_multiple_counter_30_pdus.pcap')))
    expect(rows).toEqual([])
    expect(problems.filter(problem => problem === 'sflow-bad-version')).toHaveLength(5)
    expect(new Set(problems)).toEqual(new Set(['sflow-bad-version']))
  })

  test('counters are what tshark reads', () => {
    const path = join(folder, 'sflow_multiple_counter_30_pdus.pcap')
    const expected = countersByTshark(path)
    expect(expected.length).toBeGreaterThan(50)
    const rows = decodeCounters(readPcap(path)).map(row =>
      Object.fromEntries(Object.keys(expected[0]!).map(name => [name, String(row[name])])),
    )
    expect(rows).toEqual(expected)
  })

  test('a datagram that is cut off is counted', () => {
    expect(decode(readPcap(join(folder, 'sflow_print-segv.pcap')))).toMatchObject({
      rows: [],
      problems: ['sflow-truncated'],
    })
  })
})
