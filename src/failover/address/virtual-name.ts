/**
 * A host name that leads to the active server, changed by dynamic DNS. Whoever resolves it once and
 * for all does not follow: for people's browsers rather than for devices.
 */
import type { Clock } from '../../lib/clock.ts'
import type { Log } from '../../lib/log.ts'
import type { Hold } from '../states.ts'
import { elapsed } from '../timings.ts'
import type { AddressAdapter, VirtualName } from './address.ts'
import type { AddressMeter } from './meter.ts'
import {
  askAddresses,
  askTexts,
  described,
  findOthers,
  findServer,
  findZone,
  type NameServer,
} from './name-servers.ts'
import { fenceName, ownerIn, updateName } from './name-update.ts'
import { canonical } from './plan.ts'

export interface VirtualNameDeps {
  clock: Clock
  log: Log
  meter: AddressMeter
  /** Addresses by which this server is reached. */
  ownAddresses(): readonly string[]
}

export interface VirtualNameConfig extends VirtualName {
  /** This server's name. */
  owner: string
}

const takeDeadlineMs = 900
/** Soon after it was taken, in case another's update was under way; then as often as it costs little. */
const againMs = [2000, 3000]
const everyMs = 30_000
/** While it does not lead here. */
const retryMs = 5000
/** From the update until an old answer of a name server counts as a problem. */
const propagationMs = 4000
/** Each of them is answered by a race that this server may win. */
const mostTries = 3

/**
 * A text record beside the name says the term that set it, and every update demands that this record
 * is still as it was read: an update that was held up cannot undo one of a later term.
 *
 * `drop` ends all updating at once, and removes nothing: the name goes on leading to the server that
 * let go until the next active replaces it, since no answer at all would be remembered too (RFC 2308).
 * A server that ends or hangs changes nothing any more either.
 */
export function createVirtualName(
  deps: VirtualNameDeps,
  config: VirtualNameConfig,
): AddressAdapter {
  const { clock, log, meter } = deps
  const name = bare(config.name)
  let term: number | undefined
  let hold: Hold | undefined
  let held = false
  let fault: string | undefined
  let zone = config.zone === undefined ? undefined : bare(config.zone)
  /** When the last update was made, by the clock. */
  let updatedAt: number | undefined
  /** Of the term that is being served. */
  let serving = new AbortController()
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined
  let schedule: number[] = []

  function mayUpdate(signal: AbortSignal): boolean {
    if (signal.aborted || hold === undefined) return false
    const now = { monotonic: clock.monotonic(), wall: clock.wall() }
    return elapsed(hold.since, now) < hold.ms
  }

  function show(now: { held: boolean; fault?: string | undefined }) {
    if (now.fault !== undefined && now.fault !== fault) log.warn({ name, fault: now.fault }, 'name')
    held = now.held
    fault = now.fault
    meter.held([name], held ? [name] : [])
  }

  /** Looks, puts it right, looks again; and comes back later. */
  async function reconcile(current: number, signal: AbortSignal) {
    try {
      await once(current, signal)
    } catch (error) {
      if (signal.aborted) return
      const { message } = error as Error
      meter.tally.count('name-update', () => ({ name, fault: message }))
      show({ held: false, fault: message })
    }
    if (signal.aborted) return
    const nextMs = schedule.shift() ?? (held ? everyMs : retryMs)
    timer = setTimeout(() => {
      running = reconcile(current, signal)
    }, nextMs)
  }

  async function once(current: number, signal: AbortSignal) {
    const own = deps.ownAddresses().map(canonical).toSorted()
    if (own.length === 0)
      throw new Error('it is not known by which addresses this server is reached')
    if (config.tsig?.secret === '')
      throw new Error(`the secret of ${config.tsig.name} is not known`)
    const server = await findServer(config.server)
    zone ??= await findZone(name, server)
    for (let attempt = 0; attempt < mostTries && !signal.aborted; attempt++) {
      const [texts, answered] = await Promise.all([
        askTexts(fenceName(name), server),
        askAddresses(name, server),
      ])
      const owner = ownerIn(texts)
      if (owner !== undefined && owner.term > current) {
        meter.tally.count('name-superseded', () => ({ name, ...owner, term: current }))
        const remedy = `if ${owner.server} is no server of this pair, delete the TXT record ${fenceName(name)}`
        const fault = `${name} belongs to ${owner.server} in the later term ${owner.term}: ${remedy}`
        return show({ held: false, fault })
      }
      const right = answered.map(canonical).join() === own.join()
      if (right && owner?.term === current) return verify(own, server, zone)
      if (!mayUpdate(signal)) return
      const done = await updateName(
        {
          ...{ name, zone, server, ttl: config.ttl, tsig: config.tsig },
          ...{ addresses: own, owner: { term: current, server: config.owner }, read: texts },
        },
        signal,
      )
      if (signal.aborted) return
      if (done.outcome === 'failed') throw new Error(done.reason)
      if (done.outcome === 'done') updatedAt = clock.monotonic()
    }
    if (!signal.aborted) throw new Error(`somebody else keeps changing ${name}`)
  }

  /** Whether every name server of the zone gives the new answer. */
  async function verify(own: readonly string[], primary: NameServer, inZone: string) {
    show({ held: true, fault })
    const others = await findOthers(inZone, primary)
    const late = await Promise.all(
      others.map(async server => {
        try {
          const answered = (await askAddresses(name, server)).map(canonical)
          if (answered.join() === own.join()) return []
          return [`${described(server)} still answers ${answered.join(' ') || 'nothing'}`]
        } catch (error) {
          return [(error as Error).message]
        }
      }),
    )
    const lagging = late.flat()
    const sinceUpdateMs = clock.monotonic() - (updatedAt ?? Number.NEGATIVE_INFINITY)
    if (lagging.length > 0 && sinceUpdateMs > propagationMs) {
      meter.tally.count('name-lagging', () => ({ name, lagging }))
    }
    show({ held: true, fault: lagging.length > 0 ? lagging.join('; ') : undefined })
  }

  async function end() {
    term = undefined
    clearTimeout(timer)
    serving.abort()
    show({ held: false })
    // What is still running ends by itself: nothing comes of it any more.
    running = undefined
  }

  return {
    async start() {},
    stop: end,
    drop: end,

    async take(next) {
      if (term === next) return
      await end()
      term = next
      serving = new AbortController()
      schedule = [...againMs]
      running = reconcile(next, serving.signal)
      let late: NodeJS.Timeout | undefined
      await Promise.race([
        running,
        new Promise(resolve => {
          late = setTimeout(resolve, takeDeadlineMs)
        }),
      ])
      clearTimeout(late)
    },

    hold(next) {
      hold = next
    },

    status: () => ({ type: 'virtual-name', what: [name], held, fault }),
  }
}

function bare(name: string): string {
  return name.replace(/\.$/, '').toLowerCase()
}
