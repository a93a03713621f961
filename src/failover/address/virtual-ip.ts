/**
 * Addresses that move from server to server: held in the kernel by a process of its own, which drops
 * them when this one ends, hangs, or no longer extends its hold.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Clock } from '../../lib/clock.ts'
import type { Log } from '../../lib/log.ts'
import type { Hold } from '../states.ts'
import type { AddressAdapter, VirtualAddress } from './address.ts'
import type { KeeperConfig, KeeperOrder, KeeperReport } from './keeper-protocol.ts'
import type { AddressMeter } from './meter.ts'
import { canonical } from './plan.ts'

export interface VirtualIpDeps {
  clock: Clock
  log: Log
  meter: AddressMeter
  /** MAC addresses of the other server's interfaces, as far as they are known. */
  peerMacs(): readonly string[]
  /** Addresses by which this server itself is known; never taken, never dropped. */
  ownAddresses(): readonly string[]
}

export interface VirtualIpConfig {
  addresses: readonly VirtualAddress[]
  /** On which interface they go; by default the one of their network. */
  interface?: string | undefined
  /** Where `addresses.json` is kept: what was ever added. */
  dataDir: string
}

export interface VirtualIp extends AddressAdapter {
  /** Other addresses, or another prefix: what stays the same is not interrupted. */
  configure(addresses: readonly VirtualAddress[]): Promise<void>
  /** The keeper's process, while it runs. */
  readonly keeperPid: number | undefined
}

/** Addresses that were added and may still be in the kernel, kept in the data folder. */
export const memoryFile = 'addresses.json'

const takeDeadlineMs = 900
/** A keeper that has not answered by then is ended and replaced. */
const orderDeadlineMs = 1000
/** From its spawning to its first answer, on a machine under load. */
const openDeadlineMs = 10_000
const beatMs = 1000
/** Beats without a word of the keeper. */
const mostSilentBeats = 5
const firstDelayMs = 50
const lastDelayMs = 5000

/** An order without the number by which its answer is found. */
type Numbered<Order> = Order extends { id: number } ? Omit<Order, 'id'> : never
type Order = Numbered<KeeperOrder>

interface KeeperProcess {
  child: ChildProcess
  /** Resolves when it has opened; with the reason if it could not drop what it had to. */
  opened: Promise<string | undefined>
  ended: Promise<void>
  answers: Map<number, (fault: string | undefined) => void>
  silentBeats: number
}

export function createVirtualIp(deps: VirtualIpDeps, config: VirtualIpConfig): VirtualIp {
  const { clock, log, meter } = deps
  const file = join(config.dataDir, memoryFile)
  let addresses = config.addresses.map(spelled)
  let state: 'stopped' | 'running' | 'stopping' = 'stopped'
  let keeper: KeeperProcess | undefined
  let lastId = 0
  let term: number | undefined
  let hold: Hold | undefined
  let held: string[] = []
  let faults: string[] = []
  let told = ''
  let beating: NodeJS.Timeout | undefined
  let restarting: NodeJS.Timeout | undefined
  let delayMs = firstDelayMs
  /** What the keeper's clock is ahead of ours. */
  let aheadMs = 0

  const what = () => addresses.map(({ address, prefix }) => `${address}/${prefix}`)

  function keeperConfig(): KeeperConfig {
    const [peerMacs, own] = [deps.peerMacs(), deps.ownAddresses()]
    return { addresses, interface: config.interface, peerMacs, own }
  }

  function launch(): KeeperProcess {
    const child = spawn(process.execPath, [processFile()], {
      // In a session of its own no signal meant for the server's group reaches it.
      detached: true,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      execArgv: [],
      // The programs lie where an ordinary user's path may not lead.
      env: { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/usr/bin:/sbin:/bin` },
    } as Parameters<typeof spawn>[2] & object)
    const ended = Promise.withResolvers<void>()
    const started: KeeperProcess = {
      child,
      opened: Promise.resolve(undefined),
      ended: ended.promise,
      answers: new Map(),
      silentBeats: 0,
    }
    keeper = started
    child.on('message', (report: KeeperReport) => hear(started, report))
    const over = (how: string) => {
      if (keeper === started) keeper = undefined
      ended.resolve()
      for (const answer of started.answers.values()) answer(`the keeper ended (${how})`)
      started.answers.clear()
      if (state !== 'running' || keeper !== undefined) return
      held = []
      faults = [`the process that keeps the address ended (${how}); it is started again`]
      meter.tally.count('keeper-ended', () => ({ how }))
      meter.held(what(), held)
      restarting = setTimeout(launch, delayMs)
      delayMs = Math.min(2 * delayMs, lastDelayMs)
    }
    child.once('exit', (code, signal) => over(signal ?? `exit code ${code}`))
    child.once('error', error => over(error.message))
    told = JSON.stringify(keeperConfig())
    const order = { do: 'open', file, config: keeperConfig(), hold: keepersHold(), term } as const
    started.opened = ask(started, order, openDeadlineMs)
    return started
  }

  function hear(from: KeeperProcess, report: KeeperReport) {
    from.silentBeats = 0
    switch (report.say) {
      case 'done':
        from.answers.get(report.id)?.(report.fault)
        return
      case 'status':
        if (from !== keeper) return
        if (report.held.join() !== held.join()) log.info({ held: report.held }, 'virtual addresses')
        held = report.held
        faults = report.faults
        delayMs = firstDelayMs
        meter.held(
          what(),
          held.map(one => one.split(' ', 1)[0]!),
        )
        return
      case 'problem':
        meter.tally.count(report.reason, () => report.detail)
        return
      case 'announced':
        meter.announced()
        return
      case 'conflict':
        log.warn(report, 'another machine answers for a virtual address')
        meter.conflict(report.with)
    }
  }

  /** Resolves with the fault in the answer, or with the reason why there is none. */
  function ask(to: KeeperProcess, order: Order, deadlineMs: number): Promise<string | undefined> {
    const id = ++lastId
    return new Promise(resolve => {
      const answer = (fault: string | undefined) => {
        clearTimeout(late)
        to.answers.delete(id)
        resolve(fault)
      }
      const late = setTimeout(answer, deadlineMs, noAnswer)
      to.answers.set(id, answer)
      send(to, { ...order, id } as KeeperOrder)
    })
  }

  function send(to: KeeperProcess | undefined, order: KeeperOrder) {
    // One that has ended by now says so by `exit`.
    if (to?.child.connected) to.child.send(order, () => {})
  }

  function keepersHold(): Hold | undefined {
    if (hold === undefined) return undefined
    const { since, ms } = hold
    return { since: { monotonic: since.monotonic + aheadMs, wall: since.wall }, ms }
  }

  function beat() {
    if (keeper === undefined) return
    keeper.silentBeats++
    // Counted in beats, not by the clock: this process may have been the one that stood still.
    if (keeper.silentBeats > mostSilentBeats) {
      meter.tally.count('keeper-hung')
      keeper.child.kill('SIGKILL')
      return
    }
    if (JSON.stringify(keeperConfig()) !== told) void reconfigure()
  }

  async function reconfigure(): Promise<void> {
    told = JSON.stringify(keeperConfig())
    if (keeper === undefined) return
    await ask(keeper, { do: 'configure', config: keeperConfig() }, orderDeadlineMs)
  }

  /** @throws Error if it is not certain that the kernel has none of the addresses any more */
  async function drop(order: 'drop' | 'stop'): Promise<void> {
    term = undefined
    const first = keeper
    const fault = first ? await ask(first, { do: order }, orderDeadlineMs) : noAnswer
    if (fault === undefined) return
    // It is frozen, or cannot do it. A new one begins by dropping.
    first?.child.kill('SIGKILL')
    await first?.ended
    clearTimeout(restarting)
    const next = keeper ?? launch()
    const still = await next.opened
    if (still === undefined) return
    throw new Error(`the virtual address could not be dropped: ${fault}, then ${still}`)
  }

  return {
    get keeperPid() {
      return keeper?.child.pid
    },

    async start() {
      if (state !== 'stopped') throw new Error('the virtual address has been started already')
      state = 'running'
      mkdirSync(config.dataDir, { recursive: true, mode: 0o700 })
      aheadMs = Number(process.hrtime.bigint()) / 1e6 - clock.monotonic()
      beating = setInterval(beat, beatMs)
      const fault = await launch().opened
      if (fault !== undefined) log.error({ fault }, 'what a crash left is not dropped')
    },

    async stop() {
      if (state === 'stopped') return
      state = 'stopping'
      clearInterval(beating)
      clearTimeout(restarting)
      try {
        await drop('stop')
      } finally {
        clearTimeout(restarting)
        const last = keeper
        if (last !== undefined) {
          const late = setTimeout(() => last.child.kill('SIGKILL'), orderDeadlineMs)
          if (last.child.connected) last.child.disconnect()
          await last.ended
          clearTimeout(late)
        }
        state = 'stopped'
        held = []
        hold = undefined
        meter.held([], [])
      }
    },

    async take(next) {
      term = next
      const began = clock.monotonic()
      const fault = keeper
        ? await ask(keeper, { do: 'take', term: next }, takeDeadlineMs)
        : noAnswer
      const ms = Math.round(clock.monotonic() - began)
      if (fault === undefined) log.info({ term: next, ms, held }, 'took the virtual addresses')
      else if (term === next) meter.tally.count('take-late', () => ({ fault, ms }))
    },

    drop: () => drop('drop'),

    hold(next) {
      hold = next
      send(keeper, { do: 'hold', hold: keepersHold() })
    },

    async configure(next) {
      addresses = next.map(spelled)
      if (state === 'running') await reconfigure()
    },

    status() {
      const all = what()
      const shown = all.map(one => held.find(where => where.startsWith(`${one} `)) ?? one)
      const fault = faults.length > 0 ? faults.join('; ') : undefined
      return { type: 'virtual-ip', what: shown, held: held.length > 0, fault }
    },
  }
}

function spelled({ address, prefix }: VirtualAddress): VirtualAddress {
  return { address: canonical(address), prefix }
}

const noAnswer = 'the process that keeps the address does not answer'

/** The process's file beside this one: `.ts` as it is, `.js` when compiled. */
function processFile(): string {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  return fileURLToPath(new URL(`./keeper-process.${extension}`, import.meta.url))
}
