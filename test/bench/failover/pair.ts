/** Measures Keepwatch's own pair: each run is a fault, the takeover, and the return to a pair. */
import { setTimeout as sleep } from 'node:timers/promises'
import { openStored } from '../../e2e/stored-numbers.ts'
import { stored } from '../../lab/devices.ts'
import type { Lab } from '../../lab/lab.ts'
import type { LabServer } from '../../lab/server.ts'

export interface Run {
  /** Seconds from the fault until the other server says that it is active. */
  active: number
  /** When the fault came, by the wall clock in milliseconds. */
  at: number
}

/** Numbers that each stream sent during a measurement. */
export interface Span {
  what: string
  first: Record<string, number>
  last: Record<string, number>
  runs: Run[]
}

export type Progress = (text: string) => void

export type Fault = 'crash' | 'host lost' | 'planned'

const inflict: Record<Fault, (server: LabServer) => unknown> = {
  crash: server => server.kill(),
  'host lost': server => server.cut(),
  planned: server => server.switchover(),
}

const restMs = 15_000
/**
 * Between two runs, so that what one has caused is over, and no host has an address back so soon that
 * the witness takes it for one that never let go.
 */
const calmMs = 1200
/** Within which every datagram that was sent has arrived. */
const arriveMs = 1000
/** Beyond the takeover, for the first datagram at the new active. */
const lookMs = 5000

export async function measure(
  lab: Lab,
  fault: Fault,
  what: string,
  runs: number,
  progress: Progress,
): Promise<Span> {
  await lab.settled()
  // Engines merge for a while what came in the measurement before.
  await sleep(restMs)
  const first = await lab.devices.sent()
  const done: Run[] = []
  while (done.length < runs) {
    const active = await lab.active()
    // A heartbeat comes each second: the fault shall not always hit it at the same place.
    await sleep(calmMs + Math.random() * 1000)
    const since = performance.now()
    const at = Date.now()
    const asked = Promise.resolve(inflict[fault](active))
    const { seconds } = await lab.untilActive({ except: active, since })
    await asked
    done.push({ active: seconds, at })
    const said = await lab.other(active).role()
    progress(`${what} ${done.length}/${runs}: ${seconds.toFixed(3)} s, ${said?.sentence}`)
    await active.heal()
    await active.program.ready()
    // What is still under way to the returned server is waited for when everything is counted.
    await lab.settled(undefined, { delivered: false })
  }
  await sleep(arriveMs)
  return { what, first, last: await lab.devices.sent(), runs: done }
}

export interface Stored {
  /** By measurement and stream: numbers that no engine has, and rows beyond the first of a number in one engine. */
  missing: { what: string; stream: string; sent: number; lost: number; doubled: number }[]
  /**
   * By measurement: seconds from each fault until the first datagram to the virtual address came to
   * the new active that an engine has. What the old one took in its last moments does not count.
   */
  firstStored: Record<string, number[]>
}

/**
 * Stops the lab's servers and looks into their engines.
 *
 * @param virtualStream name of the stream to the virtual address, undefined if there is none
 */
export async function readStored(
  lab: Lab,
  spans: readonly Span[],
  virtualStream: string | undefined,
): Promise<Stored> {
  await lab.count()
  const result: Stored = { missing: [], firstStored: {} }
  const engines = []
  try {
    for (const { name } of lab.servers) engines.push(await openStored(lab.folder, name))
    for (const { what, first, last } of spans) {
      for (const { name, form, from } of lab.devices.streams) {
        const { table, by, number } = stored[form]
        const [low, high] = [first[name]! + 1, last[name]!]
        const address = from.includes(':') ? from : `::ffff:${from}`
        const have = new Map<number, string>()
        let doubled = 0
        for (const [at, engine] of engines.entries()) {
          const rows = await engine.query<{ n: string; times: string; came: string }>(
            `SELECT ${number} AS n, count() AS times, toString(min(received)) AS came FROM ${table}
             WHERE ${by} = toIPv6('${address}') AND n BETWEEN ${low} AND ${high} GROUP BY n`,
          )
          for (const { n, times, came } of rows) {
            have.set(Number(n), `${came} at ${lab.servers[at]!.name}`)
            doubled += Number(times) - 1
          }
        }
        const sent = high - low + 1
        const lost = sent - have.size
        result.missing.push({ what, stream: name, sent, lost, doubled })
        if (lost > 0 && (!/virtual/.test(name) || /planned/.test(what))) {
          process.stderr.write(`${what}, ${name}: lost ${gapsOf(low, high, have)}\n`)
        }
      }
    }
    const virtual = lab.devices.streams.find(({ name }) => name === virtualStream)
    if (!virtual) return result
    for (const { what, runs } of spans) {
      result.firstStored[what] = []
      for (const [index, { at, active }] of runs.entries()) {
        // Not into the silence of the next fault.
        const next = runs[index + 1]?.at ?? Number.POSITIVE_INFINITY
        const until = Math.min(at + active * 1000 + lookMs, next)
        const times: number[] = []
        for (const engine of engines) {
          const rows = await engine.query<{ ms: string }>(
            `SELECT DISTINCT toUnixTimestamp64Milli(received) AS ms FROM syslog
             WHERE sender = toIPv6('::ffff:${virtual.from}')
               AND received > fromUnixTimestamp64Milli(${at})
               AND received < fromUnixTimestamp64Milli(toInt64(${until.toFixed(0)}))`,
          )
          times.push(...rows.map(({ ms }) => Number(ms)))
        }
        if (times.length > 0) result.firstStored[what].push((endOfGap(at, times) - at) / 1000)
      }
    }
    return result
  } finally {
    for (const engine of engines) await engine.close()
  }
}

/**
 * `3-5 (between 2026-11-22 01:30:00.123 at kw1 and …), 9 (…)`: numbers that are not there.
 * @param have number → when and where it came
 */
function gapsOf(low: number, high: number, have: ReadonlyMap<number, string>): string {
  const gaps: string[] = []
  for (let number = low; number <= high; number++) {
    if (have.has(number)) continue
    const from = number
    while (number < high && !have.has(number + 1)) number++
    const numbers = from === number ? `${from}` : `${from}-${number}`
    const [before, after] = [have.get(from - 1) ?? 'the start', have.get(number + 1) ?? 'the end']
    gaps.push(`${numbers} (between ${before} and ${after})`)
  }
  return gaps.join(', ')
}

/** Where the longest silence after the fault ends: before it the old active received, after it the new one. */
function endOfGap(at: number, times: readonly number[]): number {
  let before = at
  let gap = { ms: 0, end: at }
  for (const time of times.toSorted((a, b) => a - b)) {
    if (time - before > gap.ms) gap = { ms: time - before, end: time }
    before = time
  }
  return gap.end
}
