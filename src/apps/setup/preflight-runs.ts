import { z } from 'zod'
import { finding } from '../../api/contract/setup.ts'
import type { LastPreflight } from '../../api/routes/setup.ts'
import type { Finding } from '../../failover/preflight/finding.ts'
import type { Tally } from '../../lib/tally.ts'
import type { Operations } from '../../store/postgres/operations.ts'

const report = z.object({ findings: z.array(finding) })

/** Checks that a person asked for, as operations of the pair: one at a time on each server. */
export function createPreflightRuns(
  deps: {
    operations: Pick<Operations, 'create' | 'addStep' | 'finish' | 'list'>
    tally: Pick<Tally<'preflight'>, 'count'>
    run(): Promise<Finding[]>
    isFit(findings: readonly Finding[]): boolean
  },
  config: { self: string },
) {
  const { operations } = deps
  let running: { id: string; done: Promise<void> } | undefined

  async function run(id: string) {
    try {
      const findings = await deps.run()
      await operations.finish(id, deps.isFit(findings), { findings })
    } catch (error) {
      deps.tally.count('preflight', () => ({ error: (error as Error).message }))
      const text = `could not be carried out: ${(error as Error).message}`
      await operations.addStep(id, { server: config.self, text, ok: false }).catch(() => {})
      await operations.finish(id, false, { findings: [] }).catch(() => {})
    }
  }

  return {
    /** Does not wait for its end; one that is under way is not begun again. */
    async begin(by: string): Promise<{ id: string }> {
      if (running) return { id: running.id }
      const { id } = await operations.create({ kind: 'preflight', by })
      const done = run(id).finally(() => {
        running = undefined
      })
      running = { id, done }
      return { id }
    },
    async last(): Promise<LastPreflight | null> {
      const { rows } = await operations.list({ limit: 1, kind: 'preflight' })
      const newest = rows[0]
      if (!newest) return null
      const { id, by, started, finished, ok } = newest
      const findings = report.safeParse(newest.report).data?.findings ?? []
      return { id, by, started, finished, ok, findings }
    },
    /** Waits for what is under way. */
    async stop(): Promise<void> {
      await running?.done
    },
  }
}
