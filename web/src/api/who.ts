import type { Answer, Endpoints } from '../../../src/api/contract/index.ts'
import type { Client } from './client.ts'
import { ApiError } from './errors.ts'

export type Session = Answer<Endpoints['getSession']>

/**
 * Asks who is logged in; null: nobody. Who comes with a code from the other console is logged in
 * with it, unless somebody is already: a link with a code of somebody else must not change that.
 */
export function createWho(
  client: Pick<Client, 'call'>,
  arrivedWith: string | undefined,
): (signal: AbortSignal) => Promise<Session | null> {
  let code = arrivedWith
  return async signal => {
    try {
      const session = await client.call('getSession', {}, { signal })
      code = undefined
      return session
    } catch (failure) {
      if (!isNobody(failure)) throw failure
    }
    if (code === undefined) return null
    try {
      const session = await client.call('takeOverSession', { body: { code } })
      code = undefined
      return session
    } catch (failure) {
      if (failure instanceof ApiError && failure.code === 'network') throw failure
      code = undefined
      return null
    }
  }
}

function isNobody(failure: unknown): boolean {
  return failure instanceof ApiError && failure.code === 'not-logged-in'
}
