/** What the state machine of a server is made of: its states, events and actions. */
import type { Moment, Timings } from './timings.ts'

/** The lease as everybody can read it. */
export interface Row {
  term: number
  /** Name of the server that was granted the term; undefined before the first. */
  holder: string | undefined
  /** Which process of that server: drawn anew at each start. */
  incarnation: string | undefined
  /** The holder has let go and said so. */
  released: boolean
  /** The heartbeat counter. */
  counter: number
}

/** Whether the database can be read: `unknown` until the first reading. */
export type DatabaseView = 'unknown' | 'there' | 'away'

/** What the peer's link said, or did not say. */
export type Evidence =
  | ({ kind: 'alive' } & LinkState)
  /** Its host answers that nothing listens there: the process is dead. */
  | { kind: 'refused'; server: string }
  /** No answer in time: proves nothing. */
  | { kind: 'silent'; server: string }
  /** There is no second server. */
  | { kind: 'nobody' }

/** What a server answers on the link: GET /link/v1/state. */
export interface LinkState {
  server: string
  incarnation: string
  role: Role
  state: StateKind
  /** The highest term that it knows of. */
  term: number
  database: DatabaseView
  /** Whether it would take over if it had to. */
  healthy: boolean
}

export type Role = 'active' | 'standby' | 'stopped'

/** Why a role changed; the sentence beside it is for people. */
export type Cause =
  | 'started'
  | 'first'
  | 'released'
  | 'proven-dead'
  | 'let-go'
  | 'silent'
  | 'heartbeat-timeout'
  | 'former-self'
  | 'own-claim'
  | 'claim-failed'
  | 'fenced'
  | 'expired'
  | 'switchover'
  | 'unhealthy'
  | 'work-failed'
  | 'stop'

export type Event =
  /** Time has passed. */
  | { type: 'tick' }
  /** The lease was read, by a question sent at `sentAt`. */
  | { type: 'observed'; row: Row; sentAt: Moment }
  /** It could not be read. */
  | { type: 'databaseAway'; reason: string }
  /** The heartbeat counter was raised, by a statement sent at `sentAt`. */
  | { type: 'renewed'; term: number; sentAt: Moment }
  /** It was not: another term has begun. */
  | { type: 'renewalRefused'; term: number }
  /** Nobody knows whether it was: counts as not renewed. */
  | { type: 'renewalUnknown'; reason: string }
  | { type: 'claimWon'; term: number; sentAt: Moment }
  | { type: 'claimLost'; term: number; reason: string }
  | { type: 'claimUnknown'; reason: string }
  /** The peer was asked at `askedAt`. */
  | { type: 'peer'; evidence: Evidence; askedAt: Moment }
  /** What this server itself lacks to be active; undefined when it lacks nothing. */
  | { type: 'health'; fault: string | undefined }
  | { type: 'switchover' }
  | { type: 'stop' }
  /** The address is dropped and the work has stopped. */
  | { type: 'letGo' }
  /** The release was tried; if it failed, the others wait for the lease. */
  | { type: 'released' }
  | { type: 'workFailed'; reason: string }

export type EventOf<T extends Event['type']> = Extract<Event, { type: T }>

export type Action =
  /** Raise the term over what was read; `whileSilent`: only if the counter still stands there. */
  | { do: 'claim'; term: number; over: Row; whileSilent: boolean; reason: string }
  /** Take the address, start the active's work. */
  | { do: 'serve'; term: number }
  /** Drop the address, then stop the work; answered by `letGo`. */
  | { do: 'letGo' }
  /** Say that the term is free; answered by `released`. */
  | { do: 'release'; term: number; reason: string }
  /** Renew no more; read instead. */
  | { do: 'watch' }
  | { do: 'record'; change: RoleChange }
  /** Nothing is left to do. */
  | { do: 'end' }

export interface RoleChange {
  server: string
  role: Role
  term: number
  cause: Cause
  sentence: string
}

/** A right that ends `ms` after `since`. */
export interface Hold {
  since: Moment
  ms: number
}

export interface Settings {
  name: string
  incarnation: string
  timings: Timings
}

/** What a server knows, whatever it does. */
export interface Known {
  settings: Settings
  /** When the present state began. */
  since: Moment
  sentence: string
  highestTerm: number
  /** The last reading of the lease; `since`: when its counter was first seen where it stands. */
  seen: { row: Row; since: Moment; readAt: Moment } | undefined
  database: DatabaseView
  /** When the database last answered. */
  heardAt: Moment
  peer: { evidence: Evidence; askedAt: Moment } | undefined
  /** When the peer last proved that it cannot take over within a lease from then. */
  promisedAt: Moment | undefined
  unhealthy: string | undefined
  /** Since when it leaves the lease that it gave up to the other server. */
  asideSince: Moment | undefined
  /** The role last written into the history. */
  recorded: Role | undefined
}

export type State = Known &
  (
    | { kind: 'starting' }
    | { kind: 'standby' }
    | { kind: 'claiming'; term: number; cause: Cause; because: string; stopAsked: boolean }
    /** `renewedAt`: when the last renewal that succeeded was sent. */
    | { kind: 'active'; term: number; renewedAt: Moment }
    /** The database is away for both: it receives, holds the address, writes no state. */
    | { kind: 'held'; term: number; renewedAt: Moment }
    | {
        kind: 'steppingDown'
        term: number
        cause: Cause
        because: string
        release: boolean
        next: 'standby' | 'stopped'
        until: Hold | undefined
      }
    | { kind: 'stopped' }
  )

export type StateKind = State['kind']
export type In<K extends StateKind> = Extract<State, { kind: K }>
