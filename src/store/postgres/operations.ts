import { randomUUID } from 'node:crypto'
import { InvalidCursor } from '../../lib/errors.ts'
import type { Queries } from './database.ts'
import { type Page, type PageRequest, pageOf } from './paging.ts'

export type OperationKind = 'switchover' | 'drill' | 'preflight' | 'upgrade'

export interface OperationStep {
  at: Date
  server: string
  text: string
  /** Null: neither good nor bad, or not known yet. */
  ok: boolean | null
}

/** What takes a while and is watched. */
export interface Operation {
  id: string
  kind: OperationKind
  by: string
  started: Date
  finished: Date | null
  /** Null while it runs. */
  ok: boolean | null
  steps: OperationStep[]
  /** Its result so far; the keys depend on the kind. */
  report: Record<string, unknown> | null
}

/** Not fenced: a drill goes through two terms, and both servers write what they saw of it. */
export interface Operations {
  create(operation: {
    id?: string | undefined
    kind: OperationKind
    by: string
    report?: Record<string, unknown> | undefined
  }): Promise<Operation>
  /** With the database's time. What is past the 1,000th is left out. @returns false if it has ended */
  addStep(id: string, step: Omit<OperationStep, 'at'>): Promise<boolean>
  /** @param was only in the place of this one, if given. @returns false if it has ended, or is another */
  setReport(
    id: string,
    report: Record<string, unknown>,
    was?: Record<string, unknown>,
  ): Promise<boolean>
  /** @param report in the place of the one so far, or only of `was`. @returns false if it had ended before */
  finish(
    id: string,
    ok: boolean,
    report?: Record<string, unknown>,
    was?: Record<string, unknown>,
  ): Promise<boolean>
  find(id: string): Promise<Operation | null>
  /** Newest first. */
  list(request: PageRequest & { kind?: OperationKind | undefined }): Promise<Page<Operation>>
  /** The newest that has not ended; of one kind or of all. */
  running(kind?: OperationKind): Promise<Operation | null>
  /** Removes what was begun before then, at most 1,000. @returns how many */
  prune(olderThanMs: number): Promise<number>
}

const columns = 'id, kind, by, started, finished, ok, steps, report'
const maxSteps = 1000
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

type Row = Omit<Operation, 'steps'> & {
  steps: (Omit<OperationStep, 'at'> & { at: string })[]
}

export function createOperations(deps: { database: Queries }): Operations {
  const { database } = deps
  const ask = async (sql: string, params: readonly unknown[]) =>
    (await database.query<Row>(sql, params)).map(dated)
  const changed = async (sql: string, params: readonly unknown[]) =>
    (await database.query(`${sql} AND finished IS NULL RETURNING id`, params)).length > 0

  return {
    async create({ id = randomUUID(), kind, by, report }) {
      const [created] = await ask(
        `INSERT INTO operations (id, kind, by, report) VALUES ($1, $2, $3, $4) RETURNING ${columns}`,
        [id, kind, by, jsonOr(report)],
      )
      return created!
    },

    addStep: (id, { server, text, ok }) =>
      changed(
        `UPDATE operations SET steps = CASE WHEN jsonb_array_length(steps) >= ${maxSteps} THEN steps
           ELSE steps || jsonb_build_array(jsonb_build_object(
             'at', clock_timestamp(), 'server', $2::text, 'text', $3::text, 'ok', $4::boolean)) END
         WHERE id = $1`,
        [id, server, text, ok],
      ),

    setReport: (id, report, was) =>
      changed(
        `UPDATE operations SET report = $2 WHERE id = $1 AND ($3::jsonb IS NULL OR report = $3)`,
        [id, JSON.stringify(report), jsonOr(was)],
      ),

    finish: (id, ok, report, was) =>
      changed(
        `UPDATE operations SET finished = clock_timestamp(), ok = $2, report = coalesce($3, report)
         WHERE id = $1 AND ($4::jsonb IS NULL OR report = $4)`,
        [id, ok, jsonOr(report), jsonOr(was)],
      ),

    async find(id) {
      if (!uuid.test(id)) return null
      return (await ask(`SELECT ${columns} FROM operations WHERE id = $1`, [id]))[0] ?? null
    },

    async list({ limit, cursor, kind }) {
      if (cursor !== undefined && !uuid.test(cursor)) {
        throw new InvalidCursor(`"${cursor}" is not a cursor of this list`)
      }
      const rows = await ask(
        `SELECT ${columns} FROM operations WHERE ($1::uuid IS NULL
           OR (started, id) < (SELECT started, id FROM operations WHERE id = $1))
           AND ($2::text IS NULL OR kind = $2)
         ORDER BY started DESC, id DESC LIMIT $3`,
        [cursor ?? null, kind ?? null, limit + 1],
      )
      return pageOf(rows, limit, last => last.id)
    },

    async running(kind) {
      const [newest] = await ask(
        `SELECT ${columns} FROM operations WHERE finished IS NULL AND ($1::text IS NULL OR kind = $1)
         ORDER BY started DESC, id DESC LIMIT 1`,
        [kind ?? null],
      )
      return newest ?? null
    },

    async prune(olderThanMs) {
      const removed = await database.query(
        `DELETE FROM operations WHERE id IN (
           SELECT id FROM operations
           WHERE started < clock_timestamp() - make_interval(secs => $1::double precision / 1000)
           ORDER BY started LIMIT 1000
         ) RETURNING id`,
        [olderThanMs],
      )
      return removed.length
    },
  }
}

function jsonOr(report: Record<string, unknown> | undefined): string | null {
  return report === undefined ? null : JSON.stringify(report)
}

/** JSON has no moments. */
function dated({ steps, ...row }: Row): Operation {
  return { ...row, steps: steps.map(step => ({ ...step, at: new Date(step.at) })) }
}
