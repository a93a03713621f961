/**
 * What a database has that another of the same origin has not: it led, was left by its server's death
 * or at a person's word, and the other led on without all of it. Its rows are saved before it is
 * copied over.
 *
 * Both keep the time of each transaction (`track_commit_timestamp`), a replica that of its primary:
 * a number with another time, or none, is another transaction.
 */
import { mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Session } from './replica.ts'

export interface LeftBehind {
  /** Transactions that the other lacks. */
  transactions: number
  /** Rows that they have written, as far as they still stand, by table. */
  rows: Record<string, number>
  /** What people and programs did in them, oldest first; the first `mostChanges`. */
  changes: LeftChange[]
  /** All of those. */
  changeCount: number
}

interface LeftChange {
  at: string
  who: string
  action: string
  subject: string
  term: number
}

type Query = Session['query']

const blockSize = 2000
/** Transactions that run long are numbered early: so many blocks must be the same. */
const sameBlocks = 3
/** Without any transaction: numbers that were never used, or whose times are not kept. */
const emptyBlocks = 50
const rowsAtOnce = 100
const mostChanges = 1000
const numbers = 4_294_967_296n
/** Numbers of the transactions, as PostgreSQL writes them beside each row. */
export async function transactionsLacking(old: Query, current: Query): Promise<Set<number>> {
  const [{ next } = { next: '3' }] = await old<{ next: string }>(
    'SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS next',
  )
  const lacking = new Set<number>()
  let same = 0
  let empty = 0
  for (let end = BigInt(next); end > 3n && same < sameBlocks && empty < emptyBlocks; ) {
    const begin = end > 3n + BigInt(blockSize) ? end - BigInt(blockSize) : 3n
    const [here, there] = await Promise.all([old, current].map(its => timesOf(its, begin, end)))
    const lost = [...here!].filter(([xid, at]) => there!.get(xid) !== at)
    for (const [xid] of lost) lacking.add(xid)
    same = here!.size > 0 && lost.length === 0 ? same + 1 : lost.length > 0 ? 0 : same
    empty = here!.size > 0 ? 0 : empty + 1
    end = begin
  }
  return lacking
}

/** When each was committed; those that were not are missing. */
async function timesOf(query: Query, begin: bigint, end: bigint): Promise<Map<number, string>> {
  const rows = await query<{ xid: string; at: string }>(
    `SELECT xid, at FROM (
       SELECT n % ${numbers} AS xid,
         extract(epoch FROM pg_xact_commit_timestamp((n % ${numbers})::text::xid))::text AS at
       FROM generate_series($1::bigint, $2::bigint - 1) AS n
       WHERE n % ${numbers} >= 3
     ) AS times WHERE at IS NOT NULL`,
    [`${begin}`, `${end}`],
  )
  return new Map(rows.map(({ at, xid }) => [Number(xid), at]))
}

/**
 * Writes every row of those transactions into a file, a JSON a line: `{"table", "row"}`. Secrets stay
 * encrypted in it.
 * @throws the file system's error, or PostgreSQL's; then there is no such file
 */
export async function saveLeftBehind(
  { query }: Pick<Session, 'query'>,
  transactions: ReadonlySet<number>,
  file: string,
): Promise<LeftBehind> {
  const left: LeftBehind = {
    ...{ transactions: transactions.size, rows: {}, changes: [], changeCount: 0 },
  }
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const out = await open(file, 'w', 0o600)
  try {
    const tables = await query<{ name: string }>(
      `SELECT quote_ident(relname) AS name FROM pg_class
       WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname`,
    )
    for (const { name } of tables) {
      await forEachRow(query, name, transactions, async row => {
        left.rows[name] = (left.rows[name] ?? 0) + 1
        if (name === 'audit') note(left, row)
        await out.write(`${JSON.stringify({ table: name, row })}\n`)
      })
    }
    await out.sync()
  } finally {
    await out.close()
  }
  return left
}

function note(left: LeftBehind, row: Record<string, unknown>) {
  left.changeCount++
  if (left.changes.length === mostChanges) return
  const { action, at, subject, term, who } = row as unknown as LeftChange
  left.changes.push({ at: new Date(at).toISOString(), who, action, subject, term })
}

async function forEachRow(
  query: Query,
  table: string,
  transactions: ReadonlySet<number>,
  take: (row: Record<string, unknown>) => Promise<void>,
) {
  await query('BEGIN READ ONLY')
  try {
    await query(
      `DECLARE written NO SCROLL CURSOR FOR
       SELECT to_jsonb(t) AS row FROM public.${table} t WHERE t.xmin::text::bigint = ANY($1)
       ORDER BY ${table === 'audit' ? 'id' : 'ctid'}`,
      [[...transactions]],
    )
    for (;;) {
      const rows = await query<{ row: Record<string, unknown> }>(`FETCH ${rowsAtOnce} FROM written`)
      for (const { row } of rows) await take(row)
      if (rows.length < rowsAtOnce) break
    }
  } finally {
    await query('ROLLBACK')
  }
}
