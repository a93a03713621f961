/** Waits for what takes a while, and says how far it is; also while one server goes and the other comes. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { z } from 'zod'
import { type operation, pairEndpoints } from '../api/contract/pair.ts'
import { type Client, ServerError, Unreachable } from './client.ts'

type Operation = z.output<typeof operation>
type Pair = z.output<typeof pairEndpoints.getPair.response>

const askEveryMs = 200
const switchoverDeadlineMs = 60_000
/** So long no server may answer: one is going, or the database is away. */
const silenceMs = 60_000
const operationDeadlineMs = 1_800_000

/** @throws Error if nobody else is active in time */
export async function followSwitchover(client: Client, before: Pair): Promise<Pair> {
  const deadline = performance.now() + switchoverDeadlineMs
  let sentence = ''
  while (performance.now() < deadline) {
    const pair = await client.call(pairEndpoints.getPair).catch(orNothing)
    if (pair && pair.active !== null && pair.term > before.term) {
      if (pair.active !== before.active) return pair
      throw new Error(`${pair.active} is active again: ${pair.sentence}`)
    }
    sentence = pair?.sentence ?? sentence
    await sleep(askEveryMs)
  }
  throw new Error(
    `the other server is not active after ${switchoverDeadlineMs / 1000} s: ${sentence}`,
  )
}

/**
 * Says each step as it comes.
 *
 * @param patienceMs so long no server may answer
 * @throws Error if none does for longer
 */
export async function followOperation(
  client: Client,
  id: string,
  say: (text: string) => void,
  patienceMs = silenceMs,
): Promise<Operation> {
  const deadline = performance.now() + operationDeadlineMs
  let heard = performance.now()
  let said = 0
  while (performance.now() < deadline) {
    const found = await client.call(pairEndpoints.getOperation, { params: { id } }).catch(orNothing)
    if (found) {
      heard = performance.now()
      for (const step of found.steps.slice(said)) say(describeStep(step))
      said = found.steps.length
      if (found.finished !== null) return found
    } else if (performance.now() - heard > patienceMs) {
      throw new Error(`no server has answered for ${patienceMs / 1000} s; look at both`)
    }
    await sleep(askEveryMs)
  }
  throw new Error(`the operation ${id} has not ended; keepwatch failover status shows more`)
}

export function describeStep({ server, text, ok }: Operation['steps'][number]): string {
  return `  ${ok === false ? '✗' : ok ? '✓' : '·'} ${server}: ${text}`
}

/** During a takeover a server may be silent, and the database may turn it away. */
function orNothing(error: unknown): undefined {
  if (error instanceof Unreachable) return undefined
  if (error instanceof ServerError && ['unavailable', 'timeout', 'internal'].includes(error.code)) {
    return undefined
  }
  throw error
}
