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
  /** The holder's own lease, in milliseconds: what a standby with other settings waits for. */
  leaseMs: number
  /** For which server the holder released it; undefined: for whoever is there first. */
  intended: string | undefined
  /** Who has ended it at the risk of a person, where no majority could. */
  overruledBy?: string | undefined
  /** Undefined while takeovers are allowed. */
  paused: Pause | undefined
  /** Which database it was read from, see `DatabaseIdentity`. */
  database: DatabaseIdentity
}

/** Nobody takes over from a server that is down: a person, or too many takeovers, have said so. */
export interface Pause {
  by: string
  reason: string
  /** ISO 8601, by the database's clock; undefined: until a person resumes. */
  until: string | undefined
}

/**
 * System identifier and timeline (8 hexadecimal digits), as `7710803978536385583/00000001`: another one
 * after a failover of the database, or when it was restored. Undefined where it does not say.
 */
export type DatabaseIdentity = string | undefined

/** What outlives the process on its own disk, because the database may lose it. */
export interface Memory {
  /** The highest term that it ever saw. */
  term: number
  database: DatabaseIdentity
  /** The longest lease that the holder of that term may have, in milliseconds. */
  leaseMs: number
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
  /** Of the program. */
  version: string
  /** Whether the network finds the active server at it. */
  address: boolean
  /** MAC addresses of its interfaces: an address that answers at one of them is not a stranger's. */
  macs?: readonly string[] | undefined
  /** Its wall clock when it answered, milliseconds since 1970: shown to people, never decided by. */
  clockMs?: number | undefined
}

export type Role = 'active' | 'standby' | 'stopped'

/** Why a role changed; the sentence beside it is for people. */
export type Cause =
  | 'started'
  | 'first'
  | 'released'
  | 'promoted'
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
  /** The lease was read, by a question sent at `sentAt`; `unidentified`: why the database is. */
  | { type: 'observed'; row: Row; sentAt: Moment; unidentified?: string }
  /** It could not be read. */
  | { type: 'databaseAway'; reason: string }
  /** The heartbeat counter was raised, by a statement sent at `sentAt`. */
  | ({ type: 'renewed'; term: number; sentAt: Moment } & Pick<
      Row,
      'counter' | 'paused' | 'database'
    >)
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
  | { do: 'release'; term: number; reason: string; intended: string | undefined }
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

/** The wait that a database begins which is another one, or has lost a term that was seen. */
export interface Wary extends Hold {
  over: boolean
  because: 'another database' | 'lost terms'
  /** Which database it was before. */
  before: DatabaseIdentity
}

export interface Settings {
  name: string
  incarnation: string
  timings: Timings
  /** Who keeps the lease, for people; by default the database. */
  keeper?: string | undefined
}

export function keeperOf({ settings }: { settings: Settings }): string {
  return settings.keeper ?? 'the database'
}

/** What a server knows, whatever it does. */
export interface Known {
  settings: Settings
  /** When the present state began. */
  since: Moment
  sentence: string
  highestTerm: number
  /** When it learnt of that term. */
  raisedAt: Moment
  /** The last reading of the lease; `since`: when its counter was first seen where it stands. */
  seen: { row: Row; since: Moment; readAt: Moment } | undefined
  database: DatabaseView
  /** Which one it was when it last said so. */
  identity: DatabaseIdentity
  /** The lease of the last holder that is known, in milliseconds. */
  holderLeaseMs: number
  /** The database may have lost terms: until this is over, one of them may still be worked in. */
  wary: Wary | undefined
  paused: Pause | undefined
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
        intended: string | undefined
        next: 'standby' | 'stopped'
        until: Hold | undefined
      }
    | { kind: 'stopped' }
  )

export type StateKind = State['kind']
export type In<K extends StateKind> = Extract<State, { kind: K }>
