import { expect, test } from 'vitest'
import type { z } from 'zod'
import { trafficTables } from '../../query/traffic-tables.ts'
import type { collectorState } from '../contract/watch.ts'
import type { HandlerCall } from '../handler.ts'
import { exporterHealthRoutes } from './exporter-health.ts'

type State = z.output<typeof collectorState>

const now = Date.parse('2026-05-01T12:00:00Z')
const health: State['exporters'][number] = {
  ...{ exporter: '192.0.2.7', version: 9, domain: 1, datagrams: 90, records: 2000, lost: 10 },
  ...{ lastReceived: new Date(now).toISOString(), skewMs: 0, held: 0, replayed: 0, templates: 2 },
  ...{ sampling: { rate: 1, rule: 'none' }, problems: {} },
}
const state = {
  ...{ id: 'x', name: 'site-1', version: '0', startedAt: '', kinds: [], deliveries: [] },
  ...{ problems: {}, exporters: [health, { ...health, version: 10, domain: 2 }] },
  listeners: [
    {
      ...{ name: 'netflow', address: '::', port: 2055, datagrams: 100, bytes: 1, buffer: 1 },
      kernelDrops: 3,
    },
    { name: 'syslog_tcp', address: '::', port: 514, datagrams: 1, bytes: 1, buffer: null },
  ].map(one => ({ kernelDrops: null, ...one })),
} as unknown as State

const hourAgo = now / 1000 - 3600
const flow = (index: number, inIngress: number, inEgress = 0) => ({
  ...{ exporter: '192.0.2.7', index, inIngress, inEgress, outIngress: 0, outEgress: 0 },
  first: hourAgo,
})
const counted = (index: number, source: number, seconds: number, inOctets: number) => ({
  ...{ exporter: '192.0.2.7', index, source, seconds, inOctets, outOctets: 0 },
  ...{ discards: 0, errors: 0, oper: 1, speed: 1e9, first: hourAgo, last: hourAgo + seconds },
})

function setUp(flows: object[], counters: object[], said: object[] = []) {
  const routes = exporterHealthRoutes({
    collectors: () => [{ state, online: true }],
    interfaces: {
      find: async () => [{ index: 7, name: 'Gi0/7', alias: 'uplink', speed: 1e10 }],
    },
    deviceAt: address => (address === '192.0.2.7' ? 'edge-1' : null),
    async ask<Row>(sql: { text: string }) {
      const rows = / FROM counter/.test(sql.text)
        ? counters
        : / FROM name/.test(sql.text)
          ? said
          : flows
      return { rows: rows as Row[], rowsRead: 0, elapsedMs: 0 }
    },
    now: () => now,
    keptSince: table => (trafficTables.some(({ name }) => name === table) ? 0 : undefined),
    sampling: () => new Map([['192.0.2.7', 100]]),
  })
  const call = (more: object = {}) =>
    ({ signal: AbortSignal.timeout(1000), query: {}, ...more }) as unknown as HandlerCall<never>
  return { routes, call }
}

test('an exporter is shown with its device, what it lost of how much, and what holds for it', async () => {
  const { routes, call } = setUp([], [])
  const { exporters, sockets } = await routes.listHeardExporters(call())
  expect(exporters).toMatchObject([
    // NetFlow 9 counts datagrams, IPFIX records.
    { exporter: '192.0.2.7', device: 'edge-1', collector: 'site-1', expected: 100, set: 100 },
    { version: 10, expected: 2010 },
  ])
  expect(sockets).toEqual([
    { collector: 'site-1', listener: 'netflow', datagrams: 100, kernelDrops: 3 },
  ])
})

test('flows are compared with the counters of the interfaces that both speak of', async () => {
  const { routes, call } = setUp(
    // One that nobody counts, one that is metered at both ends of its way.
    [flow(7, 450_000), flow(8, 900_000), flow(9, 450_000, 450_000)],
    [counted(7, 1, 3000, 3_000_000), counted(9, 2, 3600, 450_000), counted(10, 2, 3600, 1)],
  )
  const { exporters } = await routes.compareExporters(call())
  expect(exporters).toEqual([
    { exporter: '192.0.2.7', interfaces: 2, flows: 2000, counters: 8000 + 1000 },
  ])
})

test('of two who count, the one that watched longer is believed, and neither if too short', async () => {
  const { routes, call } = setUp(
    [flow(7, 450_000), flow(8, 450_000)],
    [counted(7, 1, 2000, 1), counted(7, 2, 3000, 3_000_000), counted(8, 2, 500, 1)],
  )
  const { exporters } = await routes.compareExporters(call())
  expect(exporters).toMatchObject([{ interfaces: 1, counters: 8000 }])
})

test('who began to export in the middle is not compared with what was counted before', async () => {
  const late = { ...flow(7, 450_000), first: hourAgo + 1200 }
  const { routes, call } = setUp([late], [counted(7, 1, 3600, 3_000_000)])
  expect(await routes.compareExporters(call())).toEqual({ exporters: [] })
})

test('an interface has its name by SNMP, or as the exporter says, or none', async () => {
  const { routes, call } = setUp(
    [flow(7, 450_000), flow(9, 450_000)],
    [counted(7, 2, 3600, 450_000)],
    [
      { index: 7, name: 'said', alias: '' },
      { index: 8, name: 'Gi0/8', alias: 'to Berlin' },
    ],
  )
  const answer = await routes.getExporterInterfaces(call({ params: { address: '192.0.2.7' } }))
  expect(answer.interfaces).toMatchObject([
    {
      ...{ index: 7, name: 'Gi0/7', alias: 'uplink', speed: 1e10, oper: 1, by: 'snmp' },
      ...{ flows: { in: 1000, out: 0 }, counters: { in: 1000, out: 0 } },
    },
    { index: 9, name: '', flows: { in: 1000 }, counters: { in: null }, by: null },
  ])
  expect(answer.table).toBe('flow_interface_1m')
})

test('what is no address is refused', async () => {
  const { routes, call } = setUp([], [])
  const asked = routes.getExporterInterfaces(call({ params: { address: 'edge-1' } }))
  await expect(asked).rejects.toThrow('is not an address')
})
