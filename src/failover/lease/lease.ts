/** The right to be active in a term, for a limited time; who grants it is an adapter's matter. */
import type { DatabaseIdentity, Event, Hold, Row } from '../states.ts'

/** What a lease reports of its own accord; its moments are by the main thread's clock. */
export type LeaseEvent = Extract<
  Event,
  {
    type:
      | 'tick'
      | 'observed'
      | 'databaseAway'
      | 'renewed'
      | 'renewalRefused'
      | 'renewalUnknown'
      | 'claimWon'
      | 'claimLost'
      | 'claimUnknown'
      | 'released'
  }
>

export interface Claim {
  /** The term to begin: above every term that was ever seen. */
  term: number
  /** What was read; if another has changed it since, the claim is lost. */
  over: Row
  /** Win only if the heartbeat counter still stands where it was read. */
  whileSilent: boolean
  /** Why, for people. */
  reason: string
}

export interface Release {
  term: number
  /** Why, for people. */
  reason: string
  /** The server that is to have it; undefined: whoever is there first. */
  intended: string | undefined
}

/**
 * Reads the lease at each interval until a claim is won, then renews it at each interval until it is
 * released or `watch` is called. Renews only while the main loop is alive.
 */
export interface Lease {
  /**
   * Begins to read. Every outcome comes through `report`. `known`: which database it was before this
   * process; one that was left behind by a failover is not used.
   */
  start(report: (event: LeaseEvent) => void, known: DatabaseIdentity): Promise<void>
  /** Ends everything; a lease that is held is not released by it. */
  stop(): Promise<void>
  /** Answered, within seconds, by exactly one of claimWon, claimLost, claimUnknown. */
  claim(claim: Claim): void
  /** Says that the term is free, and for whom, and reads again. Answered, within seconds, by `released`. */
  release(release: Release): void
  /** Renews no more and reads again. */
  watch(): void
  /** The main loop is alive at this instant. */
  beat(): void
  /**
   * Watches a deadline away from the main loop: when it has passed, reports a tick; when the main
   * loop then neither extends nor lifts it in time, ends the process, so that nothing is done under
   * a right that is over. Undefined lifts it.
   */
  guard(hold: Hold | undefined): void
}
