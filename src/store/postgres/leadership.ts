import type { Queries } from './database.ts'

/** Who is active by the database. Whether it lives, the heartbeat tells. */
export interface Leadership {
  term: number
  /** Name of the server; null before the first term. */
  holder: string | null
  incarnation: string | null
  since: Date
  reason: string
  /** True: the holder has let go; nobody is active. */
  released: boolean
  heartbeat: { term: number; incarnation: string | null; counter: number; beatenAt: Date }
}

/** Only reads: taking over is not the store's. */
export async function readLeadership(database: Queries): Promise<Leadership> {
  const [row] = await database.query<
    Omit<Leadership, 'heartbeat'> & {
      beatTerm: number
      beatIncarnation: string | null
      counter: number
      beatenAt: Date
    }
  >(
    `SELECT l.term, l.holder, l.incarnation, l.since, l.reason, l.released,
       h.term AS "beatTerm", h.incarnation AS "beatIncarnation", h.counter, h.beaten_at AS "beatenAt"
     FROM leadership l CROSS JOIN heartbeat h`,
  )
  const { beatTerm, beatIncarnation, counter, beatenAt, ...leadership } = row!
  return {
    ...leadership,
    heartbeat: { term: beatTerm, incarnation: beatIncarnation, counter, beatenAt },
  }
}
