/**
 * `npm run bench:scale`: a day of traffic of 2,000, 20,000 and 100,000 interfaces on 500 exporters,
 * through real datagrams, on a collector and a server as they are shipped; what it takes of memory
 * and CPU, how far storing lags behind, and how long the console's questions take then.
 *
 * What runs: an embedded PostgreSQL, one server with its engine, one collector, each a process of
 * its own, begun anew for each size. In every minute of the day every interface is the input of one
 * flow and the output of another (day-sender.ts); the whole day is sent in one go at --rate, and the
 * sender takes its part of the machine too.
 *
 * Measured, per size:
 *  - flows sent, and of them lost: not in the engine when everything is delivered;
 *  - storing: flows a second from the first datagram until the last is in the engine, and the lag:
 *    how long after the last datagram that was;
 *  - CPU seconds per million flows and the highest resident memory, of the collector, of the server's
 *    own process, of its engine;
 *  - bytes a flow in the engine, raw and of all rollups together, after its merges;
 *  - the console's questions, each --rounds times over the API, first ones included: the median and
 *    the longest. A page asks for a series and a table; they are added up.
 *
 * Options: --interfaces 2000,20000,100000, --exporters N (500), --hours N (24), --rate flows/s
 * (250000), --rounds N (5), --json (one line, the last). An hour and more for all three sizes.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { DayReport, DayRun } from './day-sender.ts'
import { bytesIn, cpuOf, rangeOf, type Site, startSite, watch } from './site.ts'
import { messageFrom, openWorkshop } from './workshop.ts'

interface Page {
  name: string
  /** Its requests, without the range. */
  asks: string[]
  hours: number
}

/** What the console asks for a picture and a table of it. */
function traffic(name: string, by: string, hours: number, where = ''): Page {
  const rest = where === '' ? '' : `&where=${encodeURIComponent(where)}`
  return {
    ...{ name, hours },
    asks: [`/traffic/series?by=${by}${rest}`, `/traffic/top?by=${by}&limit=100${rest}`],
  }
}

const busiest = 'exporter=127.30.0.7'
const pages: readonly Page[] = [
  traffic('applications, a day', 'application', 24),
  traffic('exporters, a day', 'exporter', 24),
  traffic('input interfaces, a day', 'in.if', 24),
  traffic('interfaces of an exporter, a day', 'in.interface', 24, busiest),
  traffic('applications of an exporter, a day', 'application', 24, busiest),
  traffic('autonomous systems, a day', 'src.as', 24),
  traffic('type of service, a day', 'tos', 24),
  traffic('source addresses, an hour', 'src.addr', 1),
  traffic('source addresses of an exporter, a day', 'src.addr', 24, busiest),
  traffic('source addresses, a day', 'src.addr', 24),
  { name: 'collectors and exporters', asks: ['/collectors'], hours: 0 },
]
const deadlines = { startMs: 60_000, storeMs: 3_600_000 }
const sampleMs = 500

const options = readOptions()
const workshop = openWorkshop()
const results: Result[] = []
for (const interfaces of options.interfaces) {
  say(`${interfaces} interfaces on ${options.exporters} exporters, ${options.hours} hours`)
  results.push(await measure(interfaces))
}
process.stdout.write(`${report(results)}\n`)
if (options.json) process.stdout.write(`${JSON.stringify(results)}\n`)
process.exit(0)

interface Result {
  interfaces: number
  flows: number
  lost: number
  sentSeconds: number
  flowsPerSecond: number
  lagSeconds: number
  cpuPerMillion: Record<string, number>
  peakMegabytes: Record<string, number>
  bytesPerFlow: { raw: number; rollups: number }
  pages: Record<string, { medianMs: number; longestMs: number; table: string }>
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      interfaces: { type: 'string', default: '2000,20000,100000' },
      exporters: { type: 'string', default: '500' },
      hours: { type: 'string', default: '24' },
      rate: { type: 'string', default: '250000' },
      rounds: { type: 'string', default: '5' },
      json: { type: 'boolean', default: false },
    },
  })
  const number = (name: 'exporters' | 'hours' | 'rate' | 'rounds') => {
    const value = Number(values[name])
    if (value > 0) return value
    process.stderr.write(`bench: --${name} must be a number above 0\n`)
    process.exit(2)
  }
  return {
    interfaces: values.interfaces.split(',').map(Number),
    ...{ exporters: number('exporters'), hours: number('hours'), rate: number('rate') },
    ...{ rounds: number('rounds'), json: values.json },
  }
}

async function measure(interfaces: number): Promise<Result> {
  const dir = join(workshop.dir, String(interfaces))
  const site = await startSite(workshop, dir, { collector: true })
  const sender = workshop.start(
    process.execPath,
    [
      join(import.meta.dirname, 'day-sender.ts'),
      ...[site.netflow, options.exporters, interfaces].map(String),
    ],
    { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] },
  )
  await messageFrom(sender, deadlines.startMs)
  const watching = setInterval(() => watch(site.parts), sampleMs)
  const before = cpuOf(site.parts)
  const began = performance.now()
  // The last minute is the one that has just ended.
  const last = Math.floor(Date.now() / 60_000) * 60
  const run: DayRun = {
    begin: last - 3600 * options.hours,
    minutes: 60 * options.hours,
    flowsPerSecond: options.rate,
  }
  sender.send(run)
  const sent = await messageFrom<DayReport>(sender, deadlines.storeMs)
  say(`  sent ${millions(sent.flows)} flows in ${sent.seconds.toFixed(0)} s`)
  const stored = await site.stored(sent.flows, options.hours + 2)
  const seconds = (performance.now() - began) / 1000
  clearInterval(watching)
  const after = cpuOf(site.parts)
  say(`  stored ${millions(stored)} after ${seconds.toFixed(0)} s, merging`)
  await sleep(1000)
  await site.settled()
  const times: Result['pages'] = {}
  for (const page of pages) {
    if (page.hours > options.hours) continue
    times[page.name] = await askPage(site, page, 1000 * (last + 60))
  }
  sender.disconnect()
  await site.stop()
  const bytes = await bytesIn(dir, stored)
  rmSync(dir, { recursive: true, force: true })
  const names = Object.keys(site.parts)
  return {
    interfaces,
    ...{ flows: sent.flows, lost: sent.flows - stored, sentSeconds: sent.seconds },
    flowsPerSecond: stored / seconds,
    lagSeconds: seconds - sent.seconds,
    cpuPerMillion: Object.fromEntries(
      names.map(name => [name, (1e6 * (after[name]! - before[name]!)) / sent.flows]),
    ),
    peakMegabytes: Object.fromEntries(
      names.map(name => [name, site.parts[name]!.peakBytes / 2 ** 20]),
    ),
    bytesPerFlow: bytes,
    pages: times,
  }
}

async function askPage(site: Site, { asks, hours, name }: Page, to: number) {
  const took: number[] = []
  const tables = new Set<string>()
  for (let round = 0; round < options.rounds; round++) {
    let sum = 0
    for (const path of asks) {
      const began = performance.now()
      const range = hours === 0 ? '' : `&${rangeOf(to, hours)}`
      const answer = await site.ask<{ source?: { table: string } }>(`${path}${range}`)
      sum += performance.now() - began
      if (answer.source) tables.add(answer.source.table)
    }
    took.push(sum)
  }
  const sorted = took.toSorted((a, b) => a - b)
  const result = {
    medianMs: Math.round(sorted[sorted.length >> 1]!),
    longestMs: Math.round(sorted.at(-1)!),
    table: [...tables].join(', '),
  }
  say(`  ${name}: ${result.medianMs} ms, at most ${result.longestMs} ms (${result.table})`)
  return result
}

function report(results: readonly Result[]): string {
  const lines: string[] = []
  const line = (label: string, of: (result: Result) => string) =>
    lines.push(row(label, ...results.map(of)))
  const rate = (value: number) => `${(value / 1e6).toFixed(2)} M/s`
  line('interfaces', result => result.interfaces.toLocaleString('en'))
  line('flows', ({ flows }) => millions(flows))
  line('lost', ({ lost }) => String(lost))
  line('stored a second', ({ flowsPerSecond }) => rate(flowsPerSecond))
  line('lag at the end, s', ({ lagSeconds }) => lagSeconds.toFixed(1))
  for (const name of ['collector', 'server', 'engine']) {
    line(`CPU s/million, ${name}`, ({ cpuPerMillion }) => cpuPerMillion[name]!.toFixed(2))
    line(`memory at most, ${name}`, result => `${result.peakMegabytes[name]!.toFixed(0)} MiB`)
  }
  line('bytes a flow, raw', ({ bytesPerFlow }) => bytesPerFlow.raw.toFixed(1))
  line('bytes a flow, rollups', ({ bytesPerFlow }) => bytesPerFlow.rollups.toFixed(1))
  for (const { name } of pages) {
    line(name, ({ pages: times }) => {
      const page = times[name]
      return page === undefined ? '-' : `${page.medianMs} ms (at most ${page.longestMs})`
    })
  }
  return lines.join('\n')
}

function row(...cells: string[]): string {
  return cells
    .map((cell, index) => cell.padEnd(index === 0 ? 42 : 26))
    .join('')
    .trimEnd()
}

function millions(count: number): string {
  return `${(count / 1e6).toFixed(2)} M`
}

function say(line: string) {
  process.stderr.write(`${line}\n`)
}
