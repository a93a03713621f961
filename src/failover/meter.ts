/** The numbers of failover: heartbeats for the picture, and metrics. */
import { Counter, Gauge, Histogram } from 'prom-client'
import type { Metrics } from '../lib/metrics.ts'
import { roleOf } from './machine.ts'
import type { Event, State } from './states.ts'
import type { Moment } from './timings.ts'

interface Heartbeats {
  counter: number
  ageMs: number | undefined
  recentMs: number[]
}

/** One heartbeat: sent if active, seen if standby. */
export interface Heartbeat {
  counter: number
  /** Milliseconds since the one before; undefined for the first. */
  gapMs: number | undefined
}

export interface Meter {
  /** @returns the heartbeat that the event shows, if it shows one */
  note(event: Event, before: State, after: State, now: Moment): Heartbeat | undefined
  heartbeat(now: Moment): Heartbeats
}

const minuteMs = 60_000
const roles = ['active', 'standby', 'stopped'] as const

/** @param state for gauges, read when they are asked for */
export function createMeter(deps: { metrics: Metrics }, state: () => State): Meter {
  const registers = [deps.metrics]
  let counter = 0
  let lastAt: number | undefined
  const recent: { at: number; gapMs: number }[] = []

  new Gauge({
    name: 'keepwatch_failover_role',
    help: '1 at what this server is now',
    labelNames: ['role'],
    registers,
    collect() {
      for (const role of roles) this.set({ role }, roleOf(state()) === role ? 1 : 0)
    },
  })
  new Gauge({
    name: 'keepwatch_failover_term',
    help: 'The highest term that this server knows of',
    registers,
    collect() {
      this.set(state().highestTerm)
    },
  })
  new Gauge({
    name: 'keepwatch_failover_peer',
    help: '1 at what the other server last answered: alive, refused, silent, nobody',
    labelNames: ['answer'],
    registers,
    collect() {
      const kind = state().peer?.evidence.kind
      for (const answer of ['alive', 'refused', 'silent', 'nobody']) {
        this.set({ answer }, answer === kind ? 1 : 0)
      }
    },
  })
  new Gauge({
    name: 'keepwatch_failover_paused',
    help: '1 while takeovers are paused, as far as this server knows',
    registers,
    collect() {
      this.set(state().paused === undefined ? 0 : 1)
    },
  })
  const changes = new Counter({
    name: 'keepwatch_failover_changes_total',
    help: 'Changes of state, by the state that began',
    labelNames: ['state'],
    registers,
  })
  const renewals = new Counter({
    name: 'keepwatch_failover_renewals_total',
    help: 'Renewals of the lease, by outcome',
    labelNames: ['outcome'],
    registers,
  })
  const renewalSeconds = new Histogram({
    name: 'keepwatch_failover_renewal_seconds',
    help: 'From the sending of a renewal until its outcome was known',
    buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3],
    registers,
  })

  function beat(at: number, of: number): Heartbeat {
    const gapMs = lastAt === undefined ? undefined : at - lastAt
    if (gapMs !== undefined) recent.push({ at, gapMs })
    counter = of
    lastAt = at
    while (recent[0] !== undefined && recent[0].at < at - minuteMs) recent.shift()
    return { counter, gapMs }
  }

  return {
    note(event, before, after, now) {
      if (before.kind !== after.kind) changes.inc({ state: after.kind })
      switch (event.type) {
        case 'renewed':
          renewals.inc({ outcome: 'renewed' })
          renewalSeconds.observe(Math.max(0, now.monotonic - event.sentAt.monotonic) / 1000)
          return beat(event.sentAt.monotonic, event.counter)
        case 'renewalRefused':
          renewals.inc({ outcome: 'refused' })
          return undefined
        case 'renewalUnknown':
          renewals.inc({ outcome: 'unknown' })
          return undefined
        case 'observed':
          if (event.row.counter === counter) return undefined
          return beat(event.sentAt.monotonic, event.row.counter)
        default:
          return undefined
      }
    },

    heartbeat(now) {
      const since = now.monotonic - minuteMs
      return {
        counter,
        ageMs: lastAt === undefined ? undefined : Math.max(0, now.monotonic - lastAt),
        recentMs: recent.filter(one => one.at >= since).map(one => Math.round(one.gapMs)),
      }
    },
  }
}
