/** When a lab has come to rest, and whether its engines have what was sent. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { z } from 'zod'
import type { collectorState } from '../../src/api/contract/watch.ts'
import { openStored } from '../e2e/stored-numbers.ts'
import { stored } from './devices.ts'
import type { Counted, Lab } from './lab.ts'

type CollectorState = z.output<typeof collectorState>

const deliverDeadlineMs = 600_000
/** What came to the old active after a hand-over is stored by it so much later. */
const strayMs = 20_000
/** Until its batch is sealed, and that is said. */
const takenMs = 4000
const fewSegments = 20
/** What is doubled so much later has another cause. */
const incidentGapMs = 3000

interface Twice {
  number: string
  times: string
  first: string
  last: string
}

interface PairState {
  role: string
  servers: { name: string; role: string; self: boolean; engine: boolean | null }[]
  replication: { together: boolean | null; voters: { name: string; present: boolean }[] } | null
}

/** Waits until one is active, the other stands by, each hears the other, and little waits for delivery. */
export async function untilSettled(lab: Lab, withinMs: number, delivered: boolean): Promise<void> {
  const deadline = performance.now() + withinMs
  for (;;) {
    const missing = await unsettled(lab, delivered)
    if (missing === undefined) return
    if (performance.now() > deadline) throw new Error(`after ${withinMs / 1000} s: ${missing}`)
    await sleep(100)
  }
}

/** What is not yet as it should be, undefined if all is well. */
async function unsettled(lab: Lab, delivered: boolean): Promise<string | undefined> {
  const views: PairState[] = []
  for (const server of lab.servers) {
    const view = await server.call<PairState>('GET', '/pair').catch((error: Error) => error)
    if (view instanceof Error) return view.message
    views.push(view)
  }
  const roles = views.map(({ role }) => role).sort()
  if (roles.join() !== 'active,standby') {
    return lab.says()
  }
  for (const [index, { servers }] of views.entries()) {
    const sees = servers.map(({ role }) => role).sort()
    const name = lab.servers[index]!.name
    if (sees.join() !== 'active,standby') return `${name} sees ${JSON.stringify(servers)}`
    if (servers.some(({ engine }) => engine === false)) return `an engine does not answer ${name}`
  }
  for (const { replication, role } of views) {
    if (role !== 'active' || replication === null) continue
    if (replication.together !== true) return 'changes are on one disk alone'
    const there = replication.voters.filter(({ present }) => present)
    if (there.length < 3) return `only ${there.map(({ name }) => name).join(', ')} vote`
  }
  const { collectors } = await lab.servers[0]!.call<{
    collectors: { state: CollectorState; online: boolean }[]
  }>('GET', '/collectors')
  const site = collectors.find(({ state }) => state.name === 'site')
  if (!site?.online) return 'the collector is not heard'
  for (const { server, reachable, waiting, lastError } of site.state.deliveries) {
    if (!reachable) return `the collector does not reach ${server}: ${lastError}`
    if (delivered && waiting > fewSegments) return `${waiting} segments wait for ${server}`
  }
  return undefined
}

export async function countWhileRunning(lab: Lab, openedAt: number): Promise<void> {
  const sent = await lab.devices.pause()
  try {
    await sleep(3000)
    await untilDelivered(lab)
    const range = `from=${new Date(openedAt).toISOString()}&to=${new Date(Date.now() + 60_000).toISOString()}`
    for (const server of lab.servers) {
      const { rows } = await server.call<{ rows: { keys: string[]; flows: number }[] }>(
        'GET',
        `/traffic/top?by=exporter&metric=flows&limit=100&${range}`,
      )
      for (const { name, form, from } of lab.devices.streams) {
        if (!/collector/.test(name) || form === 'traps') continue
        let has = rows.find(({ keys }) => keys[0] === from)?.flows ?? 0
        if (form === 'syslog') {
          const { series } = await server.call<{ series: { values: number[] }[] }>(
            'GET',
            `/logs/histogram?sender=${from}&${range}`,
          )
          has = series.flatMap(({ values }) => values).reduce((sum, value) => sum + value, 0)
        }
        if (has !== sent[name]) {
          throw new Error(`${server.name} has ${has} of ${sent[name]} numbers of ${name}`)
        }
      }
    }
  } finally {
    lab.devices.send()
  }
}

export async function countAll(lab: Lab): Promise<Counted[]> {
  const sent = await lab.devices.pause()
  await sleep(3000)
  await lab.settled()
  await untilDelivered(lab)
  await lab.writer.stop()
  await lab.roles.stop()
  await Promise.all(lab.servers.map(server => server.stop()))
  const counted: Counted[] = []
  for (const { name } of lab.servers) {
    const opened = await openStored(lab.folder, name)
    try {
      for (const stream of lab.devices.streams) {
        const { table, by, number } = stored[stream.form]
        const address = stream.from.includes(':') ? stream.from : `::ffff:${stream.from}`
        const [row] = await opened.query<{ rows: string; distinct: string }>(
          `SELECT count() AS rows, uniqExact(${number}) AS distinct FROM ${table} WHERE ${by} = toIPv6('${address}')`,
        )
        const [rows, distinct] = [Number(row!.rows), Number(row!.distinct)]
        const all = sent[stream.name]!
        const twice =
          rows === distinct
            ? []
            : await opened.query<Twice>(
                `SELECT ${number} AS number, count() AS times,
                   toUnixTimestamp64Milli(min(received)) AS first,
                   toUnixTimestamp64Milli(max(received)) AS last
                 FROM ${table} WHERE ${by} = toIPv6('${address}')
                 GROUP BY number HAVING count() > 1 ORDER BY first, number`,
              )
        const absent =
          distinct === all
            ? []
            : absentOf(
                await opened.query<{ number: string }>(
                  `SELECT DISTINCT ${number} AS number FROM ${table} WHERE ${by} = toIPv6('${address}') ORDER BY number`,
                ),
                all,
              )
        counted.push({
          ...{ server: name, stream: stream.name, sent: all, rows, distinct },
          ...{ lost: all - distinct, doubled: rows - distinct },
          incidents: incidentsOf(twice),
          absent,
        })
      }
      const ledger = await opened.query('SELECT * FROM segments ORDER BY stored')
      writeFileSync(
        join(lab.folder, ledgerFile(name)),
        ledger.map(row => `${JSON.stringify(row)}\n`).join(''),
      )
    } finally {
      await opened.close()
    }
  }
  return counted
}

/** Which segments a server had, when it was stopped to be counted. */
export function ledgerFile(server: string): string {
  return `${server}-segments.json`
}

/** Numbers begin with 1. */
function absentOf(rows: readonly { number: string }[], all: number): [number, number][] {
  const ranges: [number, number][] = []
  let next = 1
  for (const number of [...rows.map(row => Number(row.number)), all + 1]) {
    if (number > next) ranges.push([next, number - 1])
    next = number + 1
  }
  return ranges
}

/** What is twice, put together where it came in one go. */
function incidentsOf(twice: readonly Twice[]): Counted['incidents'] {
  const incidents: Counted['incidents'] = []
  let lastMs = Number.NEGATIVE_INFINITY
  for (const row of twice) {
    const [number, times, first, last] = [row.number, row.times, row.first, row.last].map(Number)
    if (first! - lastMs > incidentGapMs) {
      const from = new Date(first!).toISOString()
      incidents.push({ from, to: from, numbers: [number!, number!], doubled: 0, apartMs: 0 })
    }
    lastMs = first!
    const incident = incidents.at(-1)!
    incident.to = new Date(first!).toISOString()
    incident.numbers = [
      Math.min(incident.numbers[0], number!),
      Math.max(incident.numbers[1], number!),
    ]
    incident.doubled += times! - 1
    incident.apartMs = Math.max(incident.apartMs, last! - first!)
  }
  return incidents
}

async function untilDelivered(lab: Lab) {
  const deadline = performance.now() + deliverDeadlineMs
  const strayDeadline = performance.now() + strayMs
  let quietFrom = 0
  for (;;) {
    const { collectors } = await lab.servers[0]!.call<{ collectors: { state: CollectorState }[] }>(
      'GET',
      '/collectors',
    )
    const waiting = collectors.flatMap(({ state }) => state.kinds.map(({ backlog }) => backlog))
    const undelivered = collectors.flatMap(({ state }) => state.deliveries.map(one => one.waiting))
    const strays = collectors.reduce((sum, { state }) => sum + (state.pair?.ring.datagrams ?? 0), 0)
    // What has just been taken out of a ring lies in a batch, of which nothing is said.
    if (strays > 0) quietFrom = performance.now() + takenMs
    if ([...waiting, ...undelivered].every(count => count === 0)) {
      if (performance.now() > Math.min(quietFrom, strayDeadline)) return
    }
    if (performance.now() > deadline) {
      throw new Error(
        `segments still wait: ${JSON.stringify(collectors.map(({ state }) => state.kinds))}`,
      )
    }
    await sleep(200)
  }
}
