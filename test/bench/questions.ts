/**
 * `npm run bench:questions`: the largest senders, ports and conversations of many flows, asked of
 * Keepwatch and of nfdump on the same flows, in one run.
 *
 * Both receive the same datagrams (NetFlow v9, datagrams.ts), one after the other: the collector,
 * whose segments are then stored in the engine as a server stores them, and `nfcapd -y` (LZ4). Then
 * each question is asked of both in turn, --rounds times after once for the page cache. Keepwatch is
 * asked with the statements of its API, over HTTP to the engine's process; nfdump reads its files
 * (-R). Both answers must name the same keys with the same bytes.
 *
 * A ratio is nfdump's time by ours: above 1 we are faster. `raw` are questions that need the flow
 * records themselves, the others are answered from a rollup, as the API would, when everything is
 * summed up.
 *
 * Options: --flows N in millions (50), --rounds N (3), --json (one line, the last).
 */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { decompressBody, parseSegment } from '../../src/collect/segment.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createSequence } from '../../src/lib/component.ts'
import { createLog } from '../../src/lib/log.ts'
import { createMetrics } from '../../src/lib/metrics.ts'
import { columnsOf, trafficTop } from '../../src/query/traffic.ts'
import { tableFor, trafficTables } from '../../src/query/traffic-tables.ts'
import { createEmbeddedEngine } from '../../src/store/clickhouse/engine.ts'
import {
  createTelemetryStore,
  type TelemetryStore,
} from '../../src/store/clickhouse/telemetry-store.ts'
import { recordsPerDatagram } from './datagrams.ts'
import { type ReceiverName, startReceiver } from './receivers.ts'
import type { SenderReport } from './sender-process.ts'
import { messageFrom, openWorkshop, type Workshop } from './workshop.ts'

interface Question {
  name: string
  by: string[]
  /** Of nfdump. */
  arguments: string[]
  /** Names of what it prints, where it does not say them itself. */
  head?: string
  /** Keys as nfdump prints them. */
  keys(fields: Record<string, string>): string[]
}

const top = 10
const value = ({ val }: Record<string, string>) => [val!]
const questions: Question[] = [
  ...(
    [
      ['source address', 'src.addr', 'srcip'],
      ['destination port', 'dst.port', 'dstport'],
      ['protocol', 'protocol', 'proto'],
      ['output interface', 'out.if', 'outif'],
      ['source AS', 'src.as', 'srcas'],
    ] as const
  ).map(([name, by, statistic]) => ({
    ...{ name, by: [by], arguments: ['-s', `${statistic}/bytes`, '-o', 'csv'], keys: value },
  })),
  {
    ...{ name: 'conversation', by: ['src.addr', 'dst.addr'] },
    arguments: ['-A', 'srcip,dstip', '-O', 'bytes', '-N', '-o', 'fmt:%sa,%da,%byt'],
    head: 'sa,da,byt',
    keys: ({ sa, da }) => [sa!, da!],
  },
]
/** A collector that loses something is asked for less. */
const flowsPerSecond = 400_000
const sliceSeconds = 5
const answerDeadlineMs = 60_000

const { values } = parseArgs({
  options: {
    flows: { type: 'string', default: '50' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
})
const wanted = 1e6 * Number(values.flows)
const rounds = Number(values.rounds)
if (!(wanted > 0) || !(rounds >= 1)) {
  process.stderr.write('bench: --flows and --rounds must be numbers above 0\n')
  process.exit(2)
}
const workshop = openWorkshop()
const base = {
  log: createLog({ level: 'error', part: 'bench' }),
  metrics: createMetrics({}),
  clock: systemClock,
}
const engine = createEmbeddedEngine(base, { dataDir: join(workshop.dir, 'engine') })
const store = createTelemetryStore({ ...base, connection: engine })
const running = createSequence([engine, store])
await running.start()
try {
  await measure()
} finally {
  await running.stop()
}
process.exit(0)

async function measure() {
  const from = Date.now()
  const sent = await fill(workshop, 'nfcapd_lz4')
  const files = join(workshop.dir, 'nfcapd_lz4', 'files')
  const again = await fill(workshop, 'keepwatch')
  if (again !== sent) throw new Error(`${sent} flows were sent to nfcapd and ${again} to keepwatch`)
  const storing = await storeAll(store, join(workshop.dir, 'keepwatch', 'spool', 'flow'))
  say(`stored ${millions(storing.rows)} flows in ${storing.seconds.toFixed(1)} s`)
  if (storing.rows !== sent) throw new Error(`${storing.rows} of ${sent} flows were stored`)
  const began = performance.now()
  await store.rollUp()
  say(`summed up after ${((performance.now() - began) / 1000).toFixed(0)} s more`)

  const hour = 3_600_000
  const range = {
    from: Math.floor(from / hour) * hour - hour,
    to: Math.ceil(Date.now() / hour) * hour,
  }
  const results: Record<
    string,
    { ratio: number; keepwatch_ms: number; nfdump_ms: number; table: string }
  > = {}
  for (const question of questions) {
    const choice = tableFor(columnsOf({ by: question.by, where: [] }), range, 3600, store.keptSince)
    const raw = trafficTables.at(-1)!
    for (const table of choice.table === raw ? [raw] : [raw, choice.table]) {
      const name = table === raw ? question.name : `${question.name} (rollup)`
      const ask = () => askKeepwatch(store, question, { table, range })
      const other = () => askNfdump(files, question)
      const [ours, theirs] = [await ask(), other()]
      compare(name, ours.rows, theirs.rows)
      const times = { ours: [] as number[], theirs: [] as number[] }
      for (let round = 0; round < rounds; round++) {
        times.ours.push((await ask()).ms)
        times.theirs.push(other().ms)
      }
      const [ms, otherMs] = [median(times.ours), median(times.theirs)]
      const ratio = median(times.ours.map((one, round) => times.theirs[round]! / one))
      say(
        `${name.padEnd(28)} keepwatch ${spread(times.ours)}, nfdump ${spread(times.theirs)}: ${ratio.toFixed(1)} times as fast, from ${table.name}`,
      )
      results[name] = {
        ratio: rounded(ratio),
        keepwatch_ms: rounded(ms),
        nfdump_ms: rounded(otherMs),
        table: table.name,
      }
    }
  }
  if (values.json) process.stdout.write(`${JSON.stringify({ flows: sent, ...results })}\n`)
}

/** Sends the wanted flows; the receiver's files stay. @returns how many it stored, which are all */
async function fill(workshop: Workshop, name: ReceiverName): Promise<number> {
  const receiver = await startReceiver(name, workshop, join(workshop.dir, name))
  const sender = workshop.start(
    process.execPath,
    [join(import.meta.dirname, 'sender-process.ts'), 'v9', String(receiver.port)],
    { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] },
  )
  await messageFrom(sender, answerDeadlineMs)
  const datagrams = Math.ceil(wanted / recordsPerDatagram.v9)
  let sent = 0
  while (sent < datagrams) {
    const datagramsPerSecond = flowsPerSecond / recordsPerDatagram.v9
    const report = messageFrom<SenderReport>(sender, answerDeadlineMs)
    sender.send({ datagramsPerSecond, seconds: sliceSeconds, most: datagrams - sent })
    sent += (await report).datagrams
    process.stderr.write(`\r${name}: ${millions(sent * recordsPerDatagram.v9)} flows`)
  }
  process.stderr.write('\n')
  sender.disconnect()
  const stored = await receiver.stop()
  if (stored.flows !== sent * recordsPerDatagram.v9) {
    throw new Error(`${name} stored ${stored.flows} of ${sent * recordsPerDatagram.v9} flows`)
  }
  return stored.flows
}

async function storeAll(store: TelemetryStore, spool: string) {
  const began = performance.now()
  let rows = 0
  for (const file of readdirSync(spool).sort()) {
    const { header, body } = parseSegment(readFileSync(join(spool, file)))
    const native = await decompressBody(body, header.nativeBytes)
    await store.insertSegment(header, native)
    rows += header.rows
    process.stderr.write(`\r${millions(rows)} flows stored`)
  }
  process.stderr.write('\n')
  return { rows, seconds: (performance.now() - began) / 1000 }
}

type Answer = { ms: number; rows: { keys: string[]; bytes: number }[] }

async function askKeepwatch(
  store: TelemetryStore,
  { by }: Question,
  where: Pick<Parameters<typeof trafficTop>[0], 'table' | 'range'>,
): Promise<Answer> {
  const question = { ...where, by, metric: 'bits' as const, limit: top, where: [] }
  const { text, params } = trafficTop({ ...question, sampling: new Map() })
  const began = performance.now()
  const { rows } = await store.query<{ keys: string[]; bytes: number }>(text, params)
  return { ms: performance.now() - began, rows }
}

function askNfdump(files: string, question: Question): Answer {
  const began = performance.now()
  const text = execFileSync(
    'nfdump',
    ['-R', files, ...question.arguments, '-n', String(top), '-q'],
    { encoding: 'utf8' },
  )
  const ms = performance.now() - began
  const lines = text.split('\n').filter(line => line.includes(','))
  const names = (question.head ?? lines.shift()!).split(',')
  const rows = lines.slice(0, top).map(line => {
    const cells = line.split(',').map(cell => cell.trim())
    const fields = Object.fromEntries(names.map((name, index) => [name.trim(), cells[index]!]))
    return { keys: question.keys(fields), bytes: Number(fields.byt) }
  })
  return { ms, rows }
}

/** Where sums are equal any order will do. */
function compare(name: string, ours: Answer['rows'], theirs: Answer['rows']) {
  const sorted = (rows: Answer['rows']) =>
    JSON.stringify(rows.map(({ keys, bytes }) => `${bytes} ${keys.join(' ')}`).sort())
  if (sorted(ours) === sorted(theirs)) return
  throw new Error(`${name}: keepwatch says ${sorted(ours)}, nfdump says ${sorted(theirs)}`)
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2
}

function spread(numbers: readonly number[]): string {
  const text = (ms: number) => (ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`)
  return `${text(median(numbers))} (${text(Math.min(...numbers))}–${text(Math.max(...numbers))})`
}

function millions(count: number): string {
  return `${(count / 1e6).toFixed(1)} M`
}

function rounded(number: number): number {
  return Number(number.toPrecision(4))
}

function say(line: string) {
  process.stderr.write(`${line}\n`)
}
