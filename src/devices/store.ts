import type { FailureReason } from './failure.ts'
import type { Target } from './session.ts'

/** A device as it is kept in state. */
export interface Device {
  id: string
  name: string
  /** A host name or an address. */
  address: string
  port: number
  /** `id` of a driver. */
  driver: string
  /** Cron, five fields, UTC; null = daily at a time of its own. */
  schedule: string | null
  enabled: boolean
}

/** Why a device is backed up: its time has come, a person asked, or it said that it was changed. */
export type Cause = 'schedule' | 'request' | 'change'

export interface NewJob {
  deviceId: string
  cause: Cause
  /** The same happening has the same key wherever it is seen; there is one job a key, ever. */
  causeKey: string
  /** Who asked, or who changed the device. */
  requestedBy: string | undefined
  /** Not to be claimed before. */
  notBefore: Date
}

export interface Job {
  id: string
  deviceId: string
  cause: Cause
  causeKey: string
  requestedBy: string | undefined
  /** How often it was claimed, this time included. */
  attempts: number
}

export interface NewVersion {
  artefact: string
  hash: string
  content: string
  takenAt: Date
  author: string | undefined
  cause: Cause
  /** Lines, against the version before; all lines of the first. */
  added: number
  removed: number
}

export interface JobOutcome {
  finished: Date
  /** What differs from the latest versions; empty if nothing does. */
  versions: NewVersion[]
}

export interface JobFailure {
  finished: Date
  reason: FailureReason | 'internal'
  message: string
  /** The end of the dialogue, without secrets. */
  evidence: string
  /** Queue it again, not to be claimed before; absent = it has failed for good. */
  retryAt: Date | undefined
}

/**
 * What the backups need of the state. Every method that writes takes the term of the active that
 * writes, and rejects, having written nothing, if the term is not the newest.
 */
export interface JobStore {
  /** Queues a job unless one with its cause key exists. Says which it is, and whether it is new. */
  enqueue(term: number, job: NewJob): Promise<{ id: string; isNew: boolean }>
  /**
   * Takes the oldest queued job whose `notBefore` has come and whose device has no running job:
   * it is `running`, claimed in this term and started now, and counts one attempt more.
   */
  claim(term: number, now: Date): Promise<Job | undefined>
  /** `succeeded`, and its versions stored, in one transaction. Nothing if it is not running. */
  succeed(term: number, jobId: string, outcome: JobOutcome): Promise<void>
  /** `failed`, or `queued` again if there is a `retryAt`; the evidence is kept in both cases. */
  fail(term: number, jobId: string, failure: JobFailure): Promise<void>
  /**
   * Running jobs that an older term claimed, or that started before `startedBefore`: nobody knows
   * what became of them. Each is `unknown`, and a new one is queued in its place for the same
   * cause, with a cause key derived from its own. Returns how many.
   */
  recover(term: number, startedBefore: Date): Promise<number>
  /** The latest version of an artefact. */
  latestVersion(
    deviceId: string,
    artefact: string,
  ): Promise<{ hash: string; content: string } | undefined>
}

/** Where the devices are known. */
export interface Devices {
  list(): Promise<Device[]>
  /** With what it takes to log in; undefined if it is gone or not enabled. */
  target(deviceId: string): Promise<(Omit<Target, 'driver'> & { driver: string }) | undefined>
}
