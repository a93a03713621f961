/**
 * Whose disk a change waits for before it is acknowledged to a person, decided. Pure.
 *
 * A follower that is there makes every change wait for it; so it has all that was acknowledged, and may
 * take over. One that is away must not stop the work: but before a change is acknowledged without it, a
 * majority of voters has to know that it may not take over any more. And it may again only when it has
 * everything that was acknowledged meanwhile.
 *
 * A server that begins to lead is `alone`, and takes its first change when a majority has heard so: the
 * voters may believe until then that the other, which led before, has everything too.
 */

export type Acknowledging =
  /** Changes wait for nobody else. */
  | { kind: 'alone' }
  /**
   * They are to wait for the follower; `since`: from when the database says that they do; `until`: the
   * place in the log to which the follower must have everything.
   */
  | {
      kind: 'joining'
      follower: string
      since: number | undefined
      until: number | undefined
    }
  /** They wait for the follower, which has all that was acknowledged. */
  | { kind: 'together'; follower: string; missingSince: number | undefined }
  /** They still wait, for the voters to know that the follower may not take over. */
  | { kind: 'parting'; follower: string }

export type AcknowledgingEvent =
  /**
   * What the database says of a server that follows: how far the log is on its disk, how far it has been
   * written, in bytes; and whether changes wait for it. Undefined: nobody follows.
   */
  | { type: 'looked'; follower: Follower | undefined }
  /** A majority of voters has heard which servers have everything, by the last heartbeat that was sent. */
  | { type: 'told'; complete: readonly string[] }

export interface Follower {
  name: string
  /** On its disk. */
  flushed: number
  /** Written here. */
  written: number
  synchronous: boolean
}

export interface AcknowledgingStep {
  state: Acknowledging
  /** Whose disk changes are to wait for, if that is to change; undefined in it: nobody's. */
  waitFor?: { follower: string | undefined }
  sentence: string
}

/** The servers that have every change that was acknowledged: what heartbeats say to the voters. */
export function completeIn(state: Acknowledging, self: string): string[] {
  return state.kind === 'together' ? [self, state.follower] : [self]
}

export interface AcknowledgingConfig {
  self: string
  /** Changes wait for a follower that is missing for so long, and longer only until the voters know. */
  patienceMs: number
  /** Every change heeds a setting within so long after the database has said that it counts. */
  settleMs: number
}

/** @param now milliseconds, monotonic */
export function stepAcknowledging(
  state: Acknowledging,
  event: AcknowledgingEvent,
  config: AcknowledgingConfig,
  now: number,
): AcknowledgingStep {
  return event.type === 'looked'
    ? look(state, event.follower, config, now)
    : hear(state, event.complete, config.self)
}

function look(
  state: Acknowledging,
  follower: Follower | undefined,
  { patienceMs, settleMs }: AcknowledgingConfig,
  now: number,
): AcknowledgingStep {
  const there = state.kind !== 'alone' && follower?.name === state.follower
  switch (state.kind) {
    case 'alone': {
      if (follower === undefined) return stay(state, 'no server follows')
      const { name } = follower
      return {
        state: { kind: 'joining', follower: name, since: undefined, until: undefined },
        waitFor: { follower: name },
        sentence: `changes wait for ${name} from now on, which still lacks some`,
      }
    }
    case 'joining': {
      if (!there) return alone(`${state.follower} has gone before it had everything`)
      const { flushed, synchronous, written } = follower!
      if (!synchronous) {
        return stay(
          { ...state, since: undefined, until: undefined },
          `changes do not wait for ${state.follower} yet`,
        )
      }
      const since = state.since ?? now
      if (now - since < settleMs) {
        return stay({ ...state, since }, `changes are said to wait for ${state.follower}`)
      }
      // What was written before may have been acknowledged without it.
      const until = state.until ?? written
      if (flushed < until) {
        return stay(
          { ...state, until },
          `${state.follower} lacks ${until - flushed} bytes of the log`,
        )
      }
      return stay(
        { kind: 'together', follower: state.follower, missingSince: undefined },
        `${state.follower} has every change that was acknowledged`,
      )
    }
    case 'together': {
      if (there && follower!.synchronous) {
        return stay(
          { ...state, missingSince: undefined },
          `${state.follower} has every change that was acknowledged`,
        )
      }
      const missingSince = state.missingSince ?? now
      if (now - missingSince < patienceMs) {
        return stay(
          { ...state, missingSince },
          `changes wait for ${state.follower}, which is missing`,
        )
      }
      return stay(
        { kind: 'parting', follower: state.follower },
        `${state.follower} is missing: the voters are told that it may not take over`,
      )
    }
    case 'parting':
      return stay(state, `changes wait until the voters know that ${state.follower} is missing`)
  }
}

function hear(state: Acknowledging, complete: readonly string[], self: string): AcknowledgingStep {
  const known = complete.length === 1 && complete[0] === self
  if (state.kind !== 'parting' || !known) return stay(state, 'the voters have been told')
  return alone(`changes are acknowledged without ${state.follower}, which may not take over`)
}

function stay(state: Acknowledging, sentence: string): AcknowledgingStep {
  return { state, sentence }
}

function alone(sentence: string): AcknowledgingStep {
  return { state: { kind: 'alone' }, waitFor: { follower: undefined }, sentence }
}
