/**
 * Keeps the virtual addresses in the kernel as long as they may be held, and not an instant longer:
 * what is there is compared with what should be at every tick, and put right.
 */
import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../lib/clock.ts'
import type { Hold } from '../states.ts'
import { elapsed } from '../timings.ts'
import { createAnnouncer } from './announcer.ts'
import type { KeeperConfig, KeeperProblem, KeeperReport } from './keeper-protocol.ts'
import type { Kernel } from './kernel.ts'
import { alreadyThere, type Change, canonical, type Link, plan, written } from './plan.ts'

export interface KeeperDeps {
  /** Its monotonic time is that of the holds. */
  clock: Clock
  kernel: Kernel
  /** Addresses that were ever added and may still be in the kernel. */
  memory: { read(): Promise<string[]>; write(addresses: readonly string[]): Promise<void> }
  report(report: Exclude<KeeperReport, { say: 'done' }>): void
}

export interface Keeper {
  /** Holds, if it may, or else drops what a crash left behind. @throws Error if it could not drop */
  open(hold: Hold | undefined, term: number | undefined): Promise<void>
  configure(config: KeeperConfig): Promise<void>
  hold(hold: Hold | undefined): void
  /** Resolves when it holds what it can hold; the rest is in its status. */
  take(term: number): Promise<void>
  /**
   * What is dropped while it may be held lingers: for a moment it is still received, though not
   * answered for.
   * @throws Error if an address is, or may be, still there
   */
  drop(): Promise<void>
  /** Drops at once and ends. @throws Error as `drop` */
  stop(): Promise<void>
}

const tickMs = 1000
/** How late the end of a hold may be noticed. */
const watchMs = 25
/** When the kernel refused to drop after the end of a hold. */
const dropAgainMs = 250
/** After a stranger answered for an address. */
const conflictRetryMs = 5000
/** After the other server, which is fenced, answered for an address. */
const insistMs = 15_000
/** A slow disk does not hold up a takeover: the kernel's own lifetimes stand behind this memory. */
const memoryDeadlineMs = 300
/** In which the other server has long announced what was handed over to it. */
const lingerMs = 5000
const lingerSeconds = 1 + lingerMs / 1000
/**
 * The kernel drops an address by itself when it was not extended for as long: the last resort when
 * server and keeper die in the same instant. Never shorter, or a machine under load would lose it.
 */
const leastLifetimeSeconds = 3
/** Read, change, read: what deletes may take along on their way is added in the next round. */
const mostRounds = 4

type Why = 'open' | 'configure' | 'take' | 'drop' | 'expired' | 'tick'

export function createKeeper(deps: KeeperDeps, initial: KeeperConfig): Keeper {
  const { clock, kernel, report } = deps
  const announcer = createAnnouncer({ clock, kernel, problem, report, conflicts: whoElse })
  let config = initial
  let hold: Hold | undefined
  let term: number | undefined
  let remembered = new Set<string>()
  /** Set as virtual, but this server had it before. */
  let foreign: string[] = []
  let ticker: NodeJS.Timeout | undefined
  let watcher: NodeJS.Timeout | undefined
  /** The work on the kernel, one piece after another. */
  let turn: Promise<unknown> = Promise.resolve()
  let busy = 0
  let probing = new AbortController()
  /** In the kernel when it was last read. */
  let present: Change[] = []
  let placing = new Map<string, string>()
  let failure: string | undefined
  let dropAgainAt = 0
  /** Drops that have begun and are to start lingering when their turn comes. */
  let willLinger = 0
  /** On the loopback interface, where they are not looked at. */
  let lingering: { addresses: Set<string>; end(): Promise<void>; timer: NodeJS.Timeout } | undefined
  const conflicts = new Map<string, { fault: string; retryAt: number }>()

  function problem(reason: KeeperProblem, detail: Record<string, unknown>) {
    report({ say: 'problem', reason, detail })
  }

  function remainingMs(): number {
    return term === undefined ? 0 : holdMs()
  }

  function holdMs(): number {
    if (hold === undefined) return 0
    const now = { monotonic: clock.monotonic(), wall: clock.wall() }
    return hold.ms - elapsed(hold.since, now)
  }

  const mayHold = () => remainingMs() > 0

  function lifetimeSeconds(): number {
    return Math.max(leastLifetimeSeconds, Math.ceil(remainingMs() / 1000))
  }

  function reconcile(why: Why): Promise<void> {
    busy++
    const done = turn.then(async () => {
      failure = undefined
      try {
        await once(why)
      } catch (error) {
        failure = (error as Error).message
        problem('kernel', { error: failure })
      }
      busy--
      const held = mayHold() ? present.filter(({ address }) => !placing.has(address)) : []
      report({ say: 'status', held: held.map(written), faults: faults() })
    })
    turn = done
    return done
  }

  async function once(why: Why) {
    probing = new AbortController()
    setMaxListeners(0, probing.signal)
    const had = new Set(present.map(({ address }) => address))
    let refused: Error | undefined
    for (let round = 0; ; round++) {
      const links = withoutLingering(await kernel.links())
      if (round === 0) recognize(links, why)
      const wanted = mayHold()
      const planned = look(links, wanted)
      // What was under way when a drop began must not delete before that lets them linger.
      if (willLinger > 0) return
      if (round === 0) notice(planned, had, why)
      const missing = wanted ? await cleared(planned.add, had, links) : []
      const changes = [...planned.change, ...missing]
      if (changes.length === 0) {
        // What was refused had happened by itself: an address that was to go had gone.
        refused = undefined
        break
      }
      if (refused !== undefined) break
      if (round === mostRounds) {
        refused = new Error(`the kernel undoes changes of ${changes.map(written).join(', ')}`)
        break
      }
      const adds = changes.filter(change => change.do === 'add')
      if (adds.length > 0) {
        await remember(adds.map(({ address }) => address))
        // The hold may have ended meanwhile: then everything looks different.
        if (!mayHold()) continue
      }
      for (const { address } of adds) had.add(address)
      await kernel.apply(changes, lifetimeSeconds()).catch((error: Error) => {
        refused = error
      })
    }
    if (mayHold() && present.length > 0) {
      await remember(present.map(({ address }) => address))
      await kernel.extend(present, lifetimeSeconds())
    }
    await forget()
    if (refused !== undefined) throw refused
  }

  function withoutLingering(links: readonly Link[]): Link[] {
    const stays = ({ address }: { address: string }) =>
      lingering?.addresses.has(canonical(address)) !== true
    return links.map(link =>
      link.loopback ? { ...link, addresses: link.addresses.filter(stays) } : link,
    )
  }

  /** In turn with everything else that is done to the kernel. */
  function startLingering(): Promise<void> {
    willLinger++
    const started = turn.then(async () => {
      willLinger--
      if (present.length === 0 || holdMs() <= 0) return
      await lingerNoMore()
      const addresses = new Set(present.map(({ address }) => canonical(address)))
      try {
        const end = await kernel.linger(present, lingerSeconds)
        lingering = { addresses, end, timer: setTimeout(() => void endLingering(), lingerMs) }
        present = []
      } catch (error) {
        problem('linger', { error: (error as Error).message })
      }
    })
    turn = started
    return started
  }

  function endLingering(due = () => true): Promise<void> {
    const ended = turn.then(async () => {
      if (due()) await lingerNoMore()
    })
    turn = ended
    return ended
  }

  async function lingerNoMore() {
    clearTimeout(lingering?.timer)
    await lingering?.end().catch((error: Error) => problem('linger', { error: error.message }))
    lingering = undefined
  }

  /** Compares the kernel with what should be. */
  function look(links: readonly Link[], wanted: boolean) {
    const own = [...config.own, ...foreign]
    const { addresses } = config
    const intention = {
      ...{ wanted, own, addresses, remembered: [...remembered], interface: config.interface },
    }
    const planned = plan(intention, links)
    placing = planned.faults
    present = wanted ? planned.held : planned.change.filter(change => change.do === 'delete')
    announcer.settle(wanted ? planned.held : [])
    return planned
  }

  /** What is set as virtual must not be there already; what appears later, somebody put there. */
  function recognize(links: readonly Link[], why: Why) {
    const there = alreadyThere({ addresses: config.addresses, remembered: [...remembered] }, links)
    const asks = why === 'open' || why === 'configure'
    foreign = asks ? there : foreign.filter(address => there.includes(address))
  }

  function notice(planned: ReturnType<typeof plan>, had: ReadonlySet<string>, why: Why) {
    if (why !== 'tick') return
    for (const { address } of planned.add.filter(one => had.has(one.address))) {
      problem('vanished', { address })
    }
    if (mayHold()) return
    for (const { address, link } of planned.change) problem('stray', { address, link })
  }

  /** Those for which nobody answers, or only one who is fenced. */
  async function cleared(
    missing: readonly Change[],
    had: ReadonlySet<string>,
    links: readonly Link[],
  ): Promise<Change[]> {
    const { signal } = probing
    const ours = new Set(links.map(({ mac }) => mac))
    const checked = missing.map(async one => {
      // It was taken away in this very run or behind our back: nobody else has got it since.
      if (had.has(one.address)) return one
      if ((conflicts.get(one.address)?.retryAt ?? 0) > clock.monotonic()) return
      const macs = (await ask(one, signal)).filter(mac => !ours.has(mac))
      return judge(one.address, macs) === 'stranger' ? undefined : one
    })
    const clear = (await Promise.all(checked)).filter(one => one !== undefined)
    return signal.aborted ? [] : clear
  }

  async function ask({ address, link }: Change, signal: AbortSignal): Promise<string[]> {
    try {
      return await kernel.probe(address, link, signal)
    } catch (error) {
      // Better twice in the network, and announced, than nowhere.
      problem('probe', { address, error: (error as Error).message })
      announcer.fault(address, `not probed: ${(error as Error).message}`)
      return []
    }
  }

  /** Who answers for an address besides this server. */
  function judge(address: string, macs: readonly string[]): 'nobody' | 'peer' | 'stranger' {
    const peers = new Set(config.peerMacs.map(mac => mac.toLowerCase()))
    const strangers = macs.filter(mac => !peers.has(mac))
    if (strangers.length > 0) {
      const fault = `${address} is in use by another machine (MAC ${strangers.join(', ')})`
      conflicts.set(address, { fault, retryAt: clock.monotonic() + conflictRetryMs })
      report({ say: 'conflict', with: 'stranger', address, macs: strangers })
      return 'stranger'
    }
    conflicts.delete(address)
    if (macs.length === 0) return 'nobody'
    announcer.insist(address, insistMs)
    report({ say: 'conflict', with: 'peer', address, macs: [...macs] })
    return 'peer'
  }

  /** Asked now and again for an address that is held. */
  async function whoElse(one: Change, signal: AbortSignal) {
    const links = await kernel.links()
    const ours = new Set(links.map(({ mac }) => mac))
    const macs = (await ask(one, signal)).filter(mac => !ours.has(mac))
    if (!signal.aborted) judge(one.address, macs)
  }

  async function remember(addresses: readonly string[]) {
    const fresh = addresses.filter(address => !remembered.has(address))
    if (fresh.length === 0) return
    for (const address of fresh) remembered.add(address)
    await store()
  }

  /** What is neither configured nor in the kernel needs no remembering. */
  async function forget() {
    const needed = new Set([...config.addresses, ...present].map(one => canonical(one.address)))
    const kept = [...remembered].filter(address => needed.has(address))
    if (kept.length === remembered.size) return
    remembered = new Set(kept)
    await store()
  }

  async function store() {
    const failed = (error: Error) => problem('memory', { error: error.message })
    const stored = deps.memory.write([...remembered]).catch(failed)
    await Promise.race([stored, sleep(memoryDeadlineMs, undefined, { ref: false })])
  }

  function faults(): string[] {
    const all = [...placing.values(), ...[...conflicts.values()].map(({ fault }) => fault)]
    return [...new Set([...all, ...announcer.faults(), ...(failure ? [failure] : [])])]
  }

  /** Also the first thing that happens after this process was stopped for a while. */
  function watch() {
    if (mayHold() || present.length === 0) return
    probing.abort()
    if (busy > 0 || clock.monotonic() < dropAgainAt) return
    dropAgainAt = clock.monotonic() + dropAgainMs
    if (term !== undefined) problem('expired', { term })
    void reconcile('expired')
  }

  /** @throws Error if an address may be left although it must not */
  function rejectIfUnsure() {
    // Without `ip`, nothing was ever added.
    if (failure !== undefined && present.length + remembered.size > 0) throw new Error(failure)
  }

  async function drop(how: 'lingering' | 'at once') {
    const lingers = how === 'lingering' && mayHold()
    term = undefined
    conflicts.clear()
    probing.abort()
    if (lingers) await startLingering()
    await reconcile('drop')
    rejectIfUnsure()
    if (present.length === 0) return
    throw new Error(`still there: ${present.map(written).join(', ')}`)
  }

  return {
    async open(givenHold, givenTerm) {
      hold = givenHold
      term = givenTerm
      const read = await deps.memory.read().catch((error: Error) => {
        problem('memory', { error: error.message })
        return []
      })
      remembered = new Set(read.map(canonical))
      ticker = setInterval(() => {
        if (busy === 0) void reconcile('tick')
      }, tickMs)
      watcher = setInterval(watch, watchMs)
      await reconcile('open')
      if (!mayHold()) rejectIfUnsure()
    },

    async configure(next) {
      config = next
      const configured = new Set(next.addresses.map(({ address }) => canonical(address)))
      for (const address of conflicts.keys()) {
        if (!configured.has(address)) conflicts.delete(address)
      }
      await reconcile('configure')
    },

    hold(next) {
      const could = mayHold()
      hold = next
      watch()
      // It comes back without waiting for the next tick.
      if (!could && mayHold() && ticker !== undefined) void reconcile('tick')
    },

    async take(next) {
      term = next
      await endLingering(mayHold)
      await reconcile('take')
    },

    drop: () => drop('lingering'),

    async stop() {
      await drop('at once')
      await endLingering()
      clearInterval(ticker)
      clearInterval(watcher)
      announcer.settle([])
    },
  }
}
