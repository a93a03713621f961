/**
 * Which server of the pair the console talks to. The page comes from one of them; this asks that
 * one every second who is active, and goes on with the other when it dies or hands over.
 */
import type { Answer, Endpoints } from '../../../src/api/contract/index.ts'
import { reasonOf } from './errors.ts'
import { addressOf } from './routes.ts'

export type PairState = Answer<Endpoints['getPair']>

export interface ConnectionDeps {
  fetch: (address: string, init: RequestInit) => Promise<Response>
  /** Milliseconds, any origin. */
  now: () => number
  /** A signal that aborts after so many milliseconds. */
  deadline: (ms: number) => AbortSignal
  /** Calls once, later; returns how to call it off. */
  later: (action: () => void, ms: number) => () => void
}

export interface ConnectionState {
  /** Origin of the server that calls go to; empty: the one that the page came from. */
  base: string
  /** The last answer, of that server; null before the first. */
  pair: PairState | null
  /** Why nobody answers, null while somebody does. */
  failure: string | null
  /** Since when nobody answers, by `now`. */
  failingSince: number | null
  /** The server answers but does not know the session. */
  signedOut: boolean
  /**
   * Console of the active server, when it has another host name than this page and does not know
   * the session there: to go on, the page has to be opened there.
   */
  elsewhere: string | null
}

export interface Connection {
  state(): ConnectionState
  subscribe(listener: () => void): () => void
  /** Asks once, the present server first. Concurrent calls share one round. */
  poll(): Promise<void>
  /** Polls each second until `stop`. */
  start(): void
  stop(): void
  /** Where a change of state must go; undefined if no active server is known. */
  writeBase(): string | undefined
}

/** How long a server may take to say who is active. */
const answerMs = 1500
const intervalMs = 1000
/** Heartbeats that may be missing while the active still counts as alive. */
const freshBeats = 3

type Reply =
  | { kind: 'pair'; pair: PairState }
  | { kind: 'signed-out' }
  /** It knows the session, which may do nothing yet: its password has to be changed first. */
  | { kind: 'barred' }
  | { kind: 'dead'; reason: string; late: boolean }

/** Somebody answers. */
const found = { failure: null, failingSince: null, elsewhere: null }

function hostOf(url: string): string {
  return new URL(url).hostname
}

/** @param origin of the page, to know which console address is its own */
export function createConnection(deps: ConnectionDeps, origin: string): Connection {
  let state: ConnectionState = {
    base: '',
    pair: null,
    failure: null,
    failingSince: null,
    signedOut: false,
    elsewhere: null,
  }
  /** Console addresses of the pair, learnt from its answers. */
  let known: string[] = []
  /** This page came by a name or an address that moves with the active: there is nowhere to go. */
  let moving = false
  /** True once the console has worked on an active server: from then on it follows the active. */
  let following = false
  let round: Promise<void> | undefined
  let cancel: (() => void) | undefined
  let running = false
  const listeners = new Set<() => void>()

  function baseOf(console: string): string {
    const base = console.replace(/\/+$/, '')
    return base === origin ? '' : base
  }

  /** Cookies belong to a host name, whatever the port. */
  function hasOtherCookies(base: string): boolean {
    return base !== '' && hostOf(base) !== hostOf(origin)
  }

  /** Whether a server that does not know the session is active: that, it tells everybody. */
  async function isActive(base: string): Promise<boolean> {
    try {
      const response = await deps.fetch(`${base}/active`, {
        headers: { accept: 'application/json' },
        signal: deps.deadline(answerMs),
      })
      return response.ok
    } catch {
      return false
    }
  }

  async function ask(base: string): Promise<Reply> {
    try {
      const response = await deps.fetch(addressOf(base, 'getPair', {}), {
        credentials: 'include',
        headers: { accept: 'application/json' },
        signal: deps.deadline(answerMs),
      })
      if (response.ok) return { kind: 'pair', pair: (await response.json()) as PairState }
      if (response.status === 401) return { kind: 'signed-out' }
      if (response.status === 403) return { kind: 'barred' }
      return { kind: 'dead', reason: `it answered ${response.status}`, late: false }
    } catch (error) {
      const late = error instanceof Error && error.name === 'TimeoutError'
      return {
        kind: 'dead',
        reason: late ? `no answer within ${answerMs} ms` : reasonOf(error),
        late,
      }
    }
  }

  async function look(): Promise<void> {
    const { base } = state
    const others = [...known, ''].filter(candidate => candidate !== base)
    let firstFailure: string | undefined
    let late = false
    let signedOutAt: string | undefined
    for (const candidate of [base, ...new Set(others)]) {
      const reply = await ask(candidate)
      if (reply.kind === 'pair') {
        // It was slow to answer, but its partner sees it alive and active: stay.
        if (late && reply.pair.active === state.pair?.self && isFresh(reply.pair)) {
          set({ ...state, ...found })
          return
        }
        if (candidate !== base) following = true
        await adopt(candidate, reply.pair)
        return
      }
      if (reply.kind === 'barred') {
        set({ ...state, ...found, base: candidate, signedOut: false })
        return
      }
      if (reply.kind === 'signed-out' && candidate !== base && hasOtherCookies(candidate)) {
        if (moving) continue
        if (await isActive(candidate)) {
          set({ ...state, ...found, elsewhere: candidate })
          return
        }
        firstFailure = `${firstFailure ?? 'no answer'}; ${hostOf(candidate)} stands by`
      } else if (reply.kind === 'signed-out') {
        signedOutAt ??= candidate
        // The present server is alive, so there is nothing to search for.
        if (candidate === base) break
      } else {
        firstFailure ??= reply.reason
        if (candidate === base) late = reply.late
      }
    }
    if (signedOutAt !== undefined) {
      set({ ...state, ...found, base: signedOutAt, signedOut: true })
      return
    }
    set({
      ...state,
      failure: firstFailure ?? 'no answer',
      failingSince: state.failingSince ?? deps.now(),
    })
  }

  /** Takes an answer; if it names another server as active and we follow, goes there. */
  async function adopt(base: string, pair: PairState): Promise<void> {
    known = pair.servers.filter(server => !server.self).map(server => baseOf(server.console))
    moving =
      pair.address.type !== 'none' &&
      !pair.servers.some(server => hostOf(server.console) === hostOf(origin))
    if (pair.role === 'active') {
      following = true
    } else if (following && pair.activeConsole !== null && isFresh(pair)) {
      const target = baseOf(pair.activeConsole)
      if (target !== base) {
        const reply = await ask(target)
        if (reply.kind === 'pair' && reply.pair.role === 'active') {
          known = [...known.filter(candidate => candidate !== target), base]
          set(answered(target, reply.pair))
          return
        }
        if (reply.kind === 'signed-out' && hasOtherCookies(target) && !moving) {
          set({ ...answered(base, pair), elsewhere: target })
          return
        }
      }
    }
    set(answered(base, pair))
  }

  /** Whether the active was heard of lately, so that it is worth asking. */
  function isFresh({ heartbeat, timings }: PairState): boolean {
    return heartbeat.ageMs === null || heartbeat.ageMs < freshBeats * timings.heartbeatMs
  }

  function answered(base: string, pair: PairState): ConnectionState {
    return { base, pair, ...found, signedOut: false }
  }

  function set(next: ConnectionState): void {
    state = next
    for (const listener of listeners) listener()
  }

  function poll(): Promise<void> {
    round ??= look().finally(() => {
      round = undefined
    })
    return round
  }

  async function loop(): Promise<void> {
    await poll()
    if (running) cancel = deps.later(() => void loop(), intervalMs)
  }

  return {
    state: () => state,
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    poll,
    start() {
      if (running) return
      running = true
      void loop()
    },
    stop() {
      running = false
      cancel?.()
    },
    writeBase() {
      const { pair, base } = state
      // Before the first answer the page's own server is as good a guess as any: it refuses if not.
      if (pair === null || pair.role === 'active') return base
      return pair.activeConsole === null ? undefined : baseOf(pair.activeConsole)
    },
  }
}
