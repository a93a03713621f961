/** The address of the pair in whatever way it is set at the moment; what a server hands to its node. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { Clock } from '../../lib/clock.ts'
import { writeWhole } from '../../lib/files.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import type { Hold } from '../states.ts'
import type { AddressAdapter, Connection, VirtualName } from './address.ts'
import { withHook } from './hook.ts'
import { type AddressMeter, createAddressMeter } from './meter.ts'
import { noAddress } from './none.ts'
import { createVirtualIp, memoryFile, type VirtualIp } from './virtual-ip.ts'
import { createVirtualName } from './virtual-name.ts'

/** As a person sets it, without the secret of the key. */
export type ConnectionSettings =
  | Exclude<Connection, { type: 'virtual-name' }>
  | ({
      type: 'virtual-name'
      tsig?: { name: string; algorithm: string } | undefined
    } & Omit<VirtualName, 'tsig'>)

export interface AddressesDeps {
  clock: Clock
  log: Log
  metrics: Metrics
  /** MAC addresses of the other server's interfaces; the last ones that were known are remembered. */
  peerMacs(): readonly string[]
  /** Addresses by which this server itself is reached. */
  ownAddresses(): readonly string[]
}

export interface AddressesConfig {
  /** This server's name. */
  server: string
  dataDir: string
  /** On which interface a virtual address goes; by default the one of its network. */
  interface?: string | undefined
  /** A command that is told of each taking and dropping. */
  hook?: { command: readonly string[]; deadlineMs: number } | undefined
}

export interface Addresses extends AddressAdapter {
  /**
   * Another way of connecting, or another address: what stays is not interrupted, and the new is
   * taken before the old is dropped. Until it is first called, the last one known holds.
   */
  configure(
    connection: ConnectionSettings,
    secrets: { tsigSecret?: string | null | undefined },
  ): Promise<void>
  /** Virtual IP addresses that this host has at the moment, without their prefix. */
  held(): readonly string[]
}

/** Kept in the data folder: what holds before the database has answered. No secret is in it. */
const connectionFile = 'connection.json'

const address = z.strictObject({ address: z.string(), prefix: z.number() })
const kept = z.object({
  connection: z.discriminatedUnion('type', [
    z.strictObject({ type: z.literal('none') }),
    z.strictObject({ type: z.literal('virtual-ip'), addresses: z.array(address) }),
    z.strictObject({
      type: z.literal('virtual-name'),
      name: z.string(),
      zone: z.string().optional(),
      server: z.string(),
      ttl: z.number(),
      tsig: z.strictObject({ name: z.string(), algorithm: z.string() }).optional(),
    }),
  ]),
  peerMacs: z.array(z.string()),
})

interface Current {
  connection: Connection
  adapter: AddressAdapter
}

export function createAddresses(deps: AddressesDeps, config: AddressesConfig): Addresses {
  const { clock, log, metrics } = deps
  const file = join(config.dataDir, connectionFile)
  const meter = createAddressMeter({ clock, log, metrics })
  let settings: ConnectionSettings = { type: 'none' }
  let configured = false
  let tsigSecret = ''
  let peerMacs: readonly string[] = []
  let current: Current = { connection: { type: 'none' }, adapter: noAddress }
  /** The current one, and one that is about to replace it or to go. */
  const live = new Set<AddressAdapter>()
  let counting: object | undefined
  let held: readonly string[] = []
  let state: 'stopped' | 'running' = 'stopped'
  let term: number | undefined
  let hold: Hold | undefined
  let turn: Promise<unknown> = Promise.resolve()

  function load() {
    let text: string
    try {
      text = readFileSync(file, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      return meter.tally.count('memory', () => ({ file, error: (error as Error).message }))
    }
    try {
      const known = kept.parse(JSON.parse(text))
      peerMacs = known.peerMacs
      if (!configured) settings = known.connection
    } catch (error) {
      meter.tally.count('memory', () => ({ file, error: (error as Error).message }))
    }
  }

  function store() {
    try {
      mkdirSync(config.dataDir, { recursive: true, mode: 0o700 })
      writeWhole(file, `${JSON.stringify({ connection: settings, peerMacs })}\n`, 0o600)
    } catch (error) {
      meter.tally.count('memory', () => ({ file, error: (error as Error).message }))
    }
  }

  /** A server that starts when the other has just died must still know it by its MAC addresses. */
  function knownPeerMacs(): readonly string[] {
    const now = deps.peerMacs()
    if (now.length > 0 && now.join() !== peerMacs.join()) {
      peerMacs = [...now]
      store()
    }
    return peerMacs
  }

  function connectionOf(): Connection {
    if (settings.type !== 'virtual-name') return settings
    const { tsig, ...rest } = settings
    return { ...rest, tsig: tsig && { ...tsig, secret: tsigSecret } }
  }

  function create(connection: Connection): AddressAdapter {
    if (connection.type === 'none') {
      counting = undefined
      held = []
      meter.held([], [])
      return noAddress
    }
    // One that goes no longer says what is held.
    const token = {}
    counting = token
    const scoped: AddressMeter = {
      ...meter,
      held: (all, now) => {
        if (counting !== token) return
        held = connection.type === 'virtual-ip' ? now.map(one => one.split('/', 1)[0]!) : []
        meter.held(all, now)
      },
    }
    const shared = { clock, log, meter: scoped, ownAddresses: deps.ownAddresses }
    if (connection.type === 'virtual-name') {
      return createVirtualName(shared, { ...connection, owner: config.server })
    }
    return createVirtualIp(
      { ...shared, peerMacs: knownPeerMacs },
      {
        addresses: connection.addresses,
        ...{ interface: config.interface, dataDir: config.dataDir },
      },
    )
  }

  /** The new is there before the old goes. */
  async function replace(connection: Connection) {
    const old = current.adapter
    const next = create(connection)
    live.add(next)
    next.hold(hold)
    try {
      await next.start()
    } catch (error) {
      live.delete(next)
      throw error
    }
    current = { connection, adapter: next }
    if (term !== undefined) await next.take(term)
    if (old === next) return
    try {
      await old.stop()
    } finally {
      live.delete(old)
    }
  }

  async function change() {
    const connection = connectionOf()
    const before = current.connection
    if (state === 'stopped' || JSON.stringify(connection) === JSON.stringify(before)) return
    log.info({ from: before.type, to: connection.type }, 'how the network finds the active one')
    if (connection.type === 'virtual-ip' && before.type === 'virtual-ip') {
      current = { ...current, connection }
      await (current.adapter as VirtualIp).configure(connection.addresses)
    } else await replace(connection)
    if (term !== undefined) await hooked.again()
  }

  /** What was added while the settings were others, and could not be dropped then. */
  async function dropRemembered() {
    let added: unknown
    try {
      added = JSON.parse(readFileSync(join(config.dataDir, memoryFile), 'utf8')).added
    } catch {
      return
    }
    if (!Array.isArray(added) || added.length === 0) return
    const leftover = create({ type: 'virtual-ip', addresses: [] })
    await leftover.start()
    await leftover.stop()
  }

  const inner: AddressAdapter = {
    async start() {
      if (state !== 'stopped') throw new Error('the address has been started already')
      state = 'running'
      load()
      const connection = connectionOf()
      if (connection.type !== 'virtual-ip') await dropRemembered()
      current = { connection, adapter: create(connection) }
      live.add(current.adapter)
      await current.adapter.start()
    },

    async stop() {
      if (state === 'stopped') return
      state = 'stopped'
      term = undefined
      await turn
      const stopping = [...live].map(adapter => adapter.stop())
      live.clear()
      await Promise.all(stopping)
      current = { connection: { type: 'none' }, adapter: noAddress }
    },

    async take(next) {
      term = next
      await current.adapter.take(next)
    },

    async drop() {
      term = undefined
      await Promise.all([...live].map(adapter => adapter.drop()))
    },

    hold(next) {
      hold = next
      for (const adapter of live) adapter.hold(next)
    },

    status: () => current.adapter.status(),
  }

  const hooked = config.hook
    ? withHook(
        inner,
        { ...config.hook, server: config.server },
        { clock, log, meter, addresses: namesOf },
      )
    : { ...inner, async again() {} }

  /** What people and clouds call it. */
  function namesOf(): readonly string[] {
    const { connection } = current
    if (connection.type === 'virtual-name') return [connection.name]
    if (connection.type === 'none') return deps.ownAddresses()
    return connection.addresses.map(one => `${one.address}/${one.prefix}`)
  }

  return {
    ...hooked,
    async configure(next, secrets) {
      const changed = JSON.stringify(next) !== JSON.stringify(settings)
      configured = true
      settings = next
      tsigSecret = secrets.tsigSecret ?? ''
      if (changed) store()
      const done = turn.then(change)
      turn = done.catch(error => {
        meter.tally.count('configure', () => ({ error: (error as Error).message }))
      })
      await done
    },
    held: () => held,
  }
}
