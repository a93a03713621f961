/**
 * What one engine has and another lacks, and how it gets there: by time of receipt, a window at a
 * time, the newest first. A window is offered with the number of its rows and the sum of their hashes;
 * what is in it already stays, what is not is added.
 *
 * Rows do not say of which segment they are. So before anything is copied, the segments that it may
 * contain are written down (`expect`): one that comes from its collector all the same is then added row
 * by row as well, until the ledger has it.
 */
import type { Readable } from 'node:stream'
import { type Kind, kinds, type Table } from '../../telemetry/table.ts'
import { tables } from '../../telemetry/tables.ts'
import type { Client } from './client.ts'
import { EngineUnavailable } from './errors.ts'
import type { Holds, Span } from './holds.ts'
import type { Ledger, SegmentRange, StoredSegments } from './ledger.ts'
import { createRanges, type Ranges, without } from './ranges.ts'
import { quote } from './statement.ts'

/** Ranges by collector and kind. */
export type Has = Record<string, Partial<Record<Kind, [number, number][]>>>

/** Rows that were received in `fromMs` … `toMs`, both ends included. */
export interface Window extends Span {
  rows: number
  /** Of the hashes of its rows, modulo 2^64. */
  sum: string
  /** Segments that one who has this window, and those above it, has whole. */
  completes: StoredSegments[]
  /** Of the moment in which it was looked at. */
  mark: number
}

export interface Lacks extends Span {
  segments: number
  rows: number
}

export interface Offer {
  /** By kind, all that the other lacks. */
  lacks: Lacks[]
  ranges: SegmentRange[]
  /** What it should take next; undefined: nothing below the moments that it named. */
  window: Window | undefined
}

export interface OfferRequest {
  has: Has
  /** By kind: what was received from then on was offered already. */
  before: Partial<Record<Kind, number>>
  /** Nothing that was received later. */
  untilMs: number
  /** Of a window. */
  mostRows: number
}

export interface History {
  /** What the ledger has. */
  has(): Has
  /** When a collector's first row was received that is stored; undefined: none is. */
  firstOf(collector: string): Promise<number | undefined>
  offer(request: OfferRequest): Promise<Offer>
  /** The rows of a window, as a Native stream. Undefined: there are others by now. */
  read(window: Window): Promise<Readable | undefined>
  /** Segments whose rows may be there in part from now on. */
  expect(ranges: readonly SegmentRange[]): Promise<void>
  /** Nothing is there in part any more. */
  forget(): Promise<void>
  /** What is there of a window: by the number of rows and the sum of their hashes. */
  compare(window: Window): Promise<'same' | 'more' | 'less' | 'other'>
  /** Adds those rows that are not there. @param packed a Native stream, compressed with zstd */
  take(window: Window, packed: Readable): Promise<void>
  /** The ledger has them from now on. */
  record(segments: readonly StoredSegments[]): Promise<void>
}

/** What the store needs for segments that come while their rows may be there in part. */
export interface Partly {
  prepare(): Promise<void>
  mayBePartly(id: { collector: string; kind: Kind; sequence: number }): boolean
  /** Adds those rows that are not there. @param insert puts all rows into the table of that name */
  add(
    span: Span,
    insert: (table: string) => Promise<void>,
    record: () => Promise<void>,
  ): Promise<void>
}

/** Of a window. */
const mostSegments = 20_000
const all = Number.MAX_SAFE_INTEGER
const longMs = 10 * 60_000
const partly = 'partly_copied'

export function createHistory(deps: {
  client: Client
  ledger: Ledger
  holds: Holds
}): History & Partly {
  const { client, holds, ledger } = deps
  const doubtful = new Map<string, Ranges>()
  let adding: Promise<unknown> = Promise.resolve()

  function doubt({ collector, first, kind, last }: SegmentRange) {
    const key = `${collector}/${kind}`
    if (!doubtful.has(key)) doubtful.set(key, createRanges())
    doubtful.get(key)!.add(first, last)
  }

  /** One after the other: each looks at what is there. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = adding.then(work)
    adding = done.catch(() => {})
    return done
  }

  async function one<T>(sql: string): Promise<T> {
    const { rows } = await client.query<T>(sql, {}, { timeoutMs: longMs })
    return rows[0]!
  }

  const measure = (span: Span) =>
    one<{ rows: number; sum: string }>(
      `SELECT count() AS rows, toString(sum(${hashOf(tables[span.kind])})) AS sum
       FROM ${span.kind} WHERE ${receivedIn(span)}`,
    )

  /**
   * In the table of that name are rows of the span; those that are not there are added. Of rows that
   * are all alike, as many as are there are not.
   */
  async function addFrom(table: string, span: Span) {
    const { kind } = span
    const names = namesOf(tables[kind]).join(', ')
    const hash = hashOf(tables[kind])
    const here = `${kind} WHERE ${receivedIn(span)}`
    const insert = (select: string) =>
      client.commandOnce(`INSERT INTO ${kind} (${names}) ${select}`, longMs, 'again')
    await insert(`SELECT ${names} FROM ${table} WHERE ${hash} NOT IN (SELECT ${hash} FROM ${here})`)
    const counted = (from: string) =>
      `SELECT ${hash} AS hash_, count() AS copies_ FROM ${from} GROUP BY hash_`
    const fewer = `SELECT hash_, here.copies_ AS copies_ FROM (${counted(table)}) AS arrived
      INNER JOIN (${counted(here)}) AS here USING (hash_) WHERE arrived.copies_ > here.copies_`
    if ((await one<{ more: number }>(`SELECT count() AS more FROM (${fewer})`)).more === 0) return
    await insert(
      `SELECT ${names} FROM (
         SELECT ${names}, ${hash} AS hash_, row_number() OVER (PARTITION BY hash_) AS copy_
         FROM ${table} WHERE ${hash} IN (SELECT hash_ FROM (${fewer}))
       ) AS alike INNER JOIN (${fewer}) AS fewer USING (hash_) WHERE copy_ > copies_`,
    )
  }

  function lackedBy(has: Has): SegmentRange[] {
    return ledger.collectors().flatMap(collector =>
      kinds.flatMap(kind =>
        without(ledger.ranges(collector, kind)?.list(all) ?? [], has[collector]?.[kind] ?? [])
          .reverse()
          .map(([first, last]) => ({ collector, kind, first, last })),
      ),
    )
  }

  async function fresh(table: string, kind: Kind) {
    await client.command(`DROP TABLE IF EXISTS ${table}`)
    await client.command(`CREATE TABLE ${table} AS ${kind} ENGINE = MergeTree ORDER BY tuple()`)
  }

  async function arrive(packed: Readable, kind: Kind, table: string) {
    const names = namesOf(tables[kind]).join(', ')
    await client.insertStream(`INSERT INTO ${table} (${names}) FORMAT Native`, packed, longMs)
  }

  async function put(window: Window, packed: Readable) {
    const { kind } = window
    const isThere = async () => (await measure(window)).rows > 0
    if (!(await isThere())) {
      return holds.hold(window, async () => {
        // What comes while one looks is there when inserts wait.
        if (await isThere()) throw new EngineUnavailable('rows of that time have just come')
        await arrive(packed, kind, kind)
      })
    }
    const table = `copied_${kind}`
    await fresh(table, kind)
    await arrive(packed, kind, table)
    await holds.hold(window, () => addFrom(table, window))
    await client.command(`DROP TABLE ${table}`)
  }

  return {
    async prepare() {
      await client.command(
        `CREATE TABLE IF NOT EXISTS ${partly}
           (collector String, kind LowCardinality(String), first UInt64, last UInt64)
         ENGINE = MergeTree ORDER BY tuple()
         SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`,
      )
      const { rows } = await client.query<SegmentRange>(
        `SELECT DISTINCT collector, kind, first, last FROM ${partly}`,
        {},
        { maxRows: 1_000_000 },
      )
      doubtful.clear()
      for (const range of rows) doubt(range)
    },

    mayBePartly: ({ collector, kind, sequence }) =>
      doubtful.get(`${collector}/${kind}`)?.has(sequence) === true,

    add: (span, insert, record) =>
      inTurn(() =>
        holds.insert(span, async () => {
          const table = `arriving_${span.kind}`
          await fresh(table, span.kind)
          await insert(table)
          await addFrom(table, span)
          await client.command(`DROP TABLE ${table}`)
          await record()
        }),
      ),

    has() {
      const listed = (collector: string) =>
        kinds.map(kind => [kind, ledger.ranges(collector, kind)?.list(all) ?? []])
      return Object.fromEntries(
        ledger.collectors().map(each => [each, Object.fromEntries(listed(each))]),
      )
    },

    async firstOf(collector) {
      const { first } = await one<{ first: number }>(
        `SELECT min(from_ms) AS first FROM segments
         WHERE collector = ${quote(collector)} AND from_ms > 0`,
      )
      return first === 0 ? undefined : first
    },

    async offer({ before, has, mostRows, untilMs }) {
      const mark = holds.now()
      const ranges = lackedBy(has)
      const lacks: Lacks[] = []
      const found: { span: Span; completes: StoredSegments[] }[] = []
      for (const kind of kinds) {
        const wanted = ranges.filter(range => range.kind === kind)
        const total = await ledger.sum(wanted, { untilMs })
        if (total === undefined) continue
        lacks.push({ kind, ...total })
        const beforeMs = before[kind]
        const below = await ledger.find(wanted, { beforeMs, untilMs, limit: mostSegments })
        if (below.length === 0) continue
        const span = spanOf(kind, upTo(mostRows, below), beforeMs)
        const completes = below.filter(({ fromMs, rows }) => rows === 0 || fromMs >= span.fromMs)
        found.push({ span, completes })
      }
      const next = found.toSorted((a, b) => b.span.toMs - a.span.toMs)[0]
      if (next === undefined) return { lacks, ranges, window: undefined }
      const { completes, span } = next
      return { lacks, ranges, window: { ...span, ...(await measure(span)), completes, mark } }
    },

    read: window =>
      holds.hold(window, async () => {
        if (holds.changed(window, window.mark)) return undefined
        const names = namesOf(tables[window.kind]).join(', ')
        const sql = `SELECT ${names} FROM ${window.kind} WHERE ${receivedIn(window)} FORMAT Native`
        return client.readStream(sql, longMs)
      }),

    async expect(ranges) {
      const news = ranges.filter(
        ({ collector, first, kind, last }) =>
          without([[first, last]], doubtful.get(`${collector}/${kind}`)?.list(all) ?? []).length >
          0,
      )
      if (news.length === 0) return
      await client.insertRows(
        partly,
        news.map(range => ({ ...range })),
      )
      for (const range of news) doubt(range)
    },

    async forget() {
      if (doubtful.size === 0) return
      await client.command(`TRUNCATE TABLE ${partly}`)
      doubtful.clear()
    },

    async compare(window) {
      const { rows, sum } = await measure(window)
      if (rows !== window.rows) return rows > window.rows ? 'more' : 'less'
      return sum === window.sum ? 'same' : 'other'
    },

    async take(window, packed) {
      // Who reads it hears of its errors; until then, and afterwards, nobody does.
      packed.on('error', () => {})
      await inTurn(() => put(window, packed)).finally(() => packed.destroy())
    },

    record: segments => ledger.recordAll(segments),
  }
}

/** As many as have so many rows, at least one. */
function upTo(most: number, segments: readonly StoredSegments[]): StoredSegments[] {
  let rows = 0
  const end = segments.findIndex(segment => {
    rows += segment.rows
    return rows >= most
  })
  return segments.slice(0, end < 0 ? segments.length : end + 1)
}

/** Of segments without any rows an empty one. */
function spanOf(
  kind: Kind,
  segments: readonly StoredSegments[],
  beforeMs: number | undefined,
): Span {
  const filled = segments.filter(({ rows }) => rows > 0)
  if (filled.length === 0) return { kind, fromMs: 0, toMs: 0 }
  const toMs = Math.max(...filled.map(segment => segment.toMs))
  return {
    ...{ kind, fromMs: Math.min(...filled.map(({ fromMs }) => fromMs)) },
    toMs: beforeMs === undefined ? toMs : Math.min(toMs, beforeMs - 1),
  }
}

const namesOf = (table: Table) => table.columns.map(({ name }) => name)
const hashOf = (table: Table) => `cityHash64(${namesOf(table).join(', ')})`

/** A condition; with the times that such rows can have, so that not every day is read. */
function receivedIn({ fromMs, kind, toMs }: Span): string {
  const table: Table = tables[kind]
  const { column, near } = table.receipt
  const moment = (ms: number) => `fromUnixTimestamp64Milli(toInt64(${ms}), 'UTC')`
  const between = (name: string, from: number, to: number) =>
    `${name} >= ${moment(from)} AND ${name} <= ${moment(to)}`
  const received = between(column, fromMs, toMs)
  if (near === undefined) return received
  // A time without milliseconds is up to a second before what it stands for.
  return `${between('time', fromMs - near.pastMs - 1000, toMs + near.futureMs)} AND ${received}`
}
