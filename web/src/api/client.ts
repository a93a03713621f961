/** Typed calls of the API on the server that the connection has found. */

import type { Answer, Call, EndpointName, Endpoints } from '../../../src/api/contract/index.ts'
import type { Connection, ConnectionDeps } from './connection.ts'
import { ApiError, errorOf, reasonOf } from './errors.ts'
import { addressOf, routes } from './routes.ts'

type Parts<N extends EndpointName> = Call<Endpoints[N]>
type Needed<P> = { [K in keyof P as P[K] extends undefined ? never : K]: P[K] }
/** `params`, `query` and `body` as the contract wants them; a query with nothing needed is optional. */
export type Arguments<N extends EndpointName> = Omit<Needed<Parts<N>>, 'query'> &
  (Parts<N>['query'] extends undefined
    ? unknown
    : // biome-ignore lint/complexity/noBannedTypes: {} is the type that tells whether all keys are optional
      {} extends Parts<N>['query']
      ? { query?: Parts<N>['query'] }
      : { query: Parts<N>['query'] })

interface Parameter {
  params?: unknown
  query?: unknown
  body?: unknown
}

export interface CallOptions {
  signal?: AbortSignal | undefined
  /** Instead of the usual bound, ms. */
  withinMs?: number
}

export interface Client {
  readonly connection: Connection
  /**
   * One operation. Changes of state go to the active server, wherever the page came from; if the
   * role has just moved, it finds the new active and sends once more (the refusal proves that
   * nothing was done).
   * @throws ApiError
   */
  call<N extends EndpointName>(
    name: N,
    args: Arguments<N>,
    options?: CallOptions,
  ): Promise<Answer<Endpoints[N]>>
}

/** The bound of every wait for an answer, ms. */
const callMs = 30_000

/**
 * Calls under way at once. A browser opens six connections to a server: slow questions must leave
 * one for the poll, or the server would look dead, and one for a live tail.
 */
const mostCalls = 4

export function createClient(
  deps: Pick<ConnectionDeps, 'fetch' | 'deadline'>,
  connection: Connection,
): Client {
  const gate = createGate(mostCalls)

  async function send<N extends EndpointName>(
    base: string,
    name: N,
    args: Parameter,
    options: CallOptions,
  ): Promise<Answer<Endpoints[N]>> {
    await gate.enter(options.signal)
    try {
      return await exchange(base, name, args, options)
    } finally {
      gate.leave()
    }
  }

  async function exchange<N extends EndpointName>(
    base: string,
    name: N,
    args: Parameter,
    options: CallOptions,
  ): Promise<Answer<Endpoints[N]>> {
    const limit = deps.deadline(options.withinMs ?? callMs)
    const init: RequestInit = {
      method: routes[name][0],
      credentials: 'include',
      headers: { accept: 'application/json' },
      signal: options.signal === undefined ? limit : AbortSignal.any([options.signal, limit]),
    }
    if (args.body !== undefined) {
      init.body = JSON.stringify(args.body)
      init.headers = { ...init.headers, 'content-type': 'application/json' }
    }
    let response: Response
    try {
      response = await deps.fetch(addressOf(base, name, args), init)
      if (response.ok) return (await response.json()) as Answer<Endpoints[N]>
    } catch (error) {
      if (options.signal?.aborted === true) throw error
      void connection.poll()
      throw new ApiError('network', `No answer from the server: ${reasonOf(error)}.`)
    }
    throw await errorOf(response)
  }

  async function write<N extends EndpointName>(
    name: N,
    args: Parameter,
    options: CallOptions,
  ): Promise<Answer<Endpoints[N]>> {
    const base = connection.writeBase()
    if (base === undefined) throw nobodyActive()
    try {
      return await send(base, name, args, options)
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 'not-active') throw error
      await connection.poll()
      const next = error.active?.replace(/\/+$/, '') ?? connection.writeBase()
      if (next === undefined) throw nobodyActive()
      if (next === base) throw error
      return await send(next, name, args, options)
    }
  }

  return {
    connection,
    call: (name, args, options = {}) =>
      routes[name][2]
        ? write(name, args, options)
        : send(connection.state().base, name, args, options),
  }
}

/** Lets so many in at once; the others wait in the order that they came. */
function createGate(places: number) {
  let inside = 0
  const waiting: { admit: () => void }[] = []
  return {
    /** @throws the signal's reason if it is aborted while waiting */
    enter(signal: AbortSignal | undefined): Promise<void> {
      if (inside < places) {
        inside++
        return Promise.resolve()
      }
      if (signal?.aborted === true) return Promise.reject(signal.reason)
      return new Promise((resolve, reject) => {
        const place = {
          admit() {
            signal?.removeEventListener('abort', giveUp)
            resolve()
          },
        }
        function giveUp() {
          waiting.splice(waiting.indexOf(place), 1)
          reject(signal?.reason)
        }
        signal?.addEventListener('abort', giveUp, { once: true })
        waiting.push(place)
      })
    },
    /** The place goes straight to the next one, if any waits. */
    leave() {
      const next = waiting.shift()
      if (next === undefined) inside--
      else next.admit()
    },
  }
}

function nobodyActive(): ApiError {
  return new ApiError('not-active', 'No server of the pair is active, so nothing can be changed.')
}
