/**
 * Scenarios: each breaks something in a lab that runs, says what must come of it, and is followed by
 * the repair of everything and a look at what the witnesses have seen.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Lab, type LabOptions, openLab } from './lab.ts'
import { labObstacle } from './network.ts'

/** `KEEPWATCH_LAB=all` runs the long scenarios too. */
export const everything = process.env.KEEPWATCH_LAB === 'all'
const scenarioDeadlineMs = 600_000
/**
 * What devices send to both servers while one does not listen is in the other's open batch for a
 * second, and lost with it (docs/operation/reception.md). A scenario is about a pair of which both
 * have listened for longer.
 */
const sealedMs = 1500
const evidenceRoot = '/tmp/lab-evidence'

/** Short times, so that a scenario that waits for them is quick; the order of things is the same. */
export const quick = { heartbeatMs: 300, leaseMs: 3500, timeoutMs: 6000 } as const

export interface ScenarioOptions {
  /** Only with KEEPWATCH_LAB=all: it takes long, or another scenario shows nearly the same. */
  long?: boolean
  /** Why it cannot be run yet. */
  notYet?: string
  /** How long two may both say that they are active, where the scenario lies to one of them. */
  overlapMs?: number
  /** The database comes back without its last changes. */
  mayLoseChanges?: boolean
}

export type Scenario = (
  title: string,
  body: (lab: Lab) => Promise<void>,
  options?: ScenarioOptions,
) => void

/** Scenarios that follow each other in the same lab. At the end everything sent must be in both engines, once. */
export function scenarios(
  title: string,
  options: LabOptions & {
    needs?: readonly string[]
    /** Not even what devices send to the virtual addresses may be lost. */
    lossless?: boolean
  },
  define: (scenario: Scenario) => void,
): void {
  const obstacle = labObstacle(options.needs)
  describe.skipIf(obstacle)(obstacle ? `${title} (${obstacle})` : title, () => {
    let lab: Lab | undefined
    let allowed: { overlapMs: number; mayLoseChanges: boolean } = {
      overlapMs: 0,
      mayLoseChanges: false,
    }

    beforeAll(async () => {
      lab = await openLab(options)
    }, scenarioDeadlineMs)

    afterAll(async () => {
      await lab?.close()
    }, scenarioDeadlineMs)

    define((name, body, { long, notYet, overlapMs = 0, mayLoseChanges = false } = {}) => {
      const why = notYet ?? (long && !everything ? 'with KEEPWATCH_LAB=all' : undefined)
      test.skipIf(why !== undefined)(
        why === undefined ? name : `${name} (${why})`,
        async () => {
          allowed = {
            overlapMs: Math.max(allowed.overlapMs, overlapMs),
            mayLoseChanges: allowed.mayLoseChanges || mayLoseChanges,
          }
          await withEvidence(`${title}: ${name}`, lab!, async () => {
            const term = (await lab!.untilActive()).term
            if (options.ownCollectors) await sleep(sealedMs)
            await body(lab!)
            await lab!.healAll()
            await lab!.settled()
            const now = await lab!.untilActive()
            expect(now.term, 'terms rise').toBeGreaterThanOrEqual(term)
            expect(await lab!.violations(allowed)).toEqual([])
          })
        },
        scenarioDeadlineMs,
      )
    })

    test(
      `everything that was sent ${options.lossless ? '' : 'through the collector '}is in both engines, once`,
      async () => {
        await withEvidence(`${title}: counted`, lab!, async () => {
          const counted = await lab!.count()
          for (const { server, stream, sent, lost, doubled } of counted) {
            process.stdout.write(
              `${title}: ${server}, ${stream}: ${sent} sent, ${lost} lost, ${doubled} doubled\n`,
            )
          }
          const wrong = counted.filter(
            ({ stream, lost, doubled }) =>
              doubled > 0 || (lost > 0 && (options.lossless || !/virtual/.test(stream))),
          )
          expect(wrong).toEqual([])
          expect(counted.every(({ sent }) => sent > 0)).toBe(true)
        })
      },
      scenarioDeadlineMs,
    )
  })
}

async function withEvidence(name: string, lab: Lab, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    const folder = join(
      evidenceRoot,
      `${process.pid}-${name.replace(/[^a-z0-9]+/gi, '-').slice(0, 80)}`,
    )
    mkdirSync(folder, { recursive: true })
    await lab.keepEvidence(folder).catch(() => {})
    ;(error as Error).message += `\nthe logs of all parts and what the witnesses saw: ${folder}`
    throw error
  }
}

/** Says how long a takeover took, and answers with the new active. */
export async function takenOver(
  what: string,
  lab: Lab,
  from: { except: Lab['kw1']; since: number },
): Promise<{ server: Lab['kw1']; term: number; seconds: number }> {
  const next = await lab.untilActive(from)
  process.stdout.write(`${what}: ${next.server.name} active after ${next.seconds.toFixed(2)} s\n`)
  return next
}
