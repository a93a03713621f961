/**
 * Writes numbered changes at both servers all the time, and reads afterwards in the database what was
 * committed when, and in which term.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../database.ts'
import type { LabServer } from '../server.ts'

export interface WriterWitness {
  start(): Promise<void>
  stop(): Promise<void>
  /** How many changes were acknowledged so far, by server. */
  readonly acknowledged: ReadonlyMap<string, number>
  /**
   * Sentences about terms out of order, a term of two servers, changes that were acknowledged and are
   * gone. Looks at what came since it was asked last.
   * @param options.mayBeLost the database has come back without its last changes
   */
  violations(options?: { mayBeLost?: boolean }): Promise<string[]>
}

const everyMs = 60
const deadlineMs = 3000
/** Lines of the audit that may be committed after newer ones. */
const overlap = 2000

export function createWriterWitness(
  servers: readonly LabServer[],
  database: () => Database,
  device: string,
): WriterWitness {
  const acknowledged = new Map(servers.map(({ name }) => [name, 0]))
  /** Acknowledged, and not yet looked for. */
  let unproven: string[] = []
  /** The newest line of the audit that was looked at. */
  let lookedAt = 0
  let id: string | undefined
  let running = false
  let loops: Promise<void>[] = []

  async function write(server: LabServer) {
    for (let number = 0; running; number++) {
      const note = `${server.name} ${number}`
      const answer = await server
        .ask(`/api/v1/devices/${id}`, { method: 'PATCH', body: { note }, deadlineMs })
        .catch(() => undefined)
      if (answer?.status === 200) {
        acknowledged.set(server.name, acknowledged.get(server.name)! + 1)
        unproven.push(note)
      }
      await sleep(everyMs)
    }
  }

  return {
    acknowledged,
    async start() {
      const rows = await database().query<{ id: string }>(
        'SELECT id FROM devices WHERE name = $1',
        [device],
      )
      id = rows[0]!.id
      running = true
      loops = servers.map(write)
    },
    async stop() {
      running = false
      await Promise.all(loops)
    },
    async violations({ mayBeLost = false } = {}) {
      const found: string[] = []
      // Those that are acknowledged while the database is asked are looked for the next time.
      const expected = unproven
      unproven = []
      const from = Math.max(0, lookedAt - overlap)
      const late = await database().query<{ term: string; highest: string; at: Date; id: string }>(
        `SELECT * FROM (
           SELECT id, term, at, max(term) OVER (ORDER BY committed, id) AS highest
           FROM (SELECT id, term, at, pg_xact_commit_timestamp(xmin) AS committed FROM audit
                 WHERE id > $1) AS a
         ) AS ordered WHERE term < highest ORDER BY id LIMIT 10`,
        [from],
      )
      for (const { id, term, highest, at } of late) {
        found.push(
          `change ${id} of term ${term} (${at.toISOString()}) was committed after one of term ${highest}`,
        )
      }
      const shared = await database().query<{ term: string; servers: string[] }>(
        `SELECT term, array_agg(DISTINCT server) AS servers FROM role_changes
         WHERE role = 'active' GROUP BY term HAVING count(DISTINCT server) > 1`,
      )
      for (const { term, servers: both } of shared) {
        found.push(`term ${term} was of ${both.join(' and ')}`)
      }
      const rows = await database().query<{ note: string; times: string; newest: string }>(
        `SELECT detail->>'note' AS note, count(*) AS times, max(id) AS newest FROM audit
         WHERE subject = $1 AND detail ? 'note' AND id > $2 GROUP BY 1`,
        [device, from],
      )
      const committed = new Map(rows.map(({ note, times }) => [note, Number(times)]))
      lookedAt = Math.max(lookedAt, ...rows.map(({ newest }) => Number(newest)))
      if (mayBeLost) return found
      for (const note of expected) {
        const times = committed.get(note) ?? 0
        if (times !== 1) found.push(`change "${note}" was acknowledged and is there ${times} times`)
      }
      return found
    },
  }
}
