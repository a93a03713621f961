/** Hosts on a switch, each a network namespace of its own, and servers that are nothing but an address. */
import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { AddressStatus } from '../../src/failover/address/address.ts'
import type { ConnectionSettings } from '../../src/failover/address/addresses.ts'
import type { AddressSaid, MemberSettings } from './address-member.ts'

const program = fileURLToPath(new URL('./address-member.ts', import.meta.url))
const exec = promisify(execFile)

/** Why such a network cannot be built here; undefined if it can. */
export function lacksNetwork(programs: readonly string[]): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root for network namespaces'
  const missing = programs.filter(name => spawnSync('which', [name]).status !== 0)
  return missing.length > 0 ? `needs ${missing.join(', ')}` : undefined
}

export interface Host {
  name: string
  namespace: string
  mac: string
  /** Its own addresses. */
  v4: string
  v6: string
  /** Runs a program there. @throws if it fails */
  run(...command: string[]): Promise<string>
  /** Starts a program there, ended with the network. */
  spawn(...command: string[]): ChildProcess
  /** The addresses that its kernel has on `eth0`, with their prefixes. */
  addresses(): Promise<string[]>
}

export interface Network {
  host(name: string): Promise<Host>
  member(host: Host, options: MemberOptions): Promise<AddressMember>
  stop(): Promise<void>
}

export interface MemberOptions {
  /** Undefined: it starts with what it last knew. */
  connection?: ConnectionSettings
  peerMacs?: readonly string[]
  interface?: string
  /** For a member that is started again where another was. */
  dataDir?: string
  /** Instead of the kernel's own programs: a folder with others of the same names. */
  path?: string
  hook?: { command: readonly string[]; deadlineMs: number }
}

let networks = 0

export async function createNetwork(): Promise<Network> {
  const prefix = `kwad${process.pid}n${++networks}`
  const folder = await mkdtemp(join(tmpdir(), 'keepwatch-address-'))
  const hub = `${prefix}-switch`
  const namespaces = [hub]
  const children: ChildProcess[] = []
  const members: AddressMember[] = []
  ip('netns', 'add', hub)
  ip('-n', hub, 'link', 'add', 'br0', 'type', 'bridge')
  ip('-n', hub, 'link', 'set', 'br0', 'up')

  return {
    async host(name) {
      const number = namespaces.length
      const namespace = `${prefix}-${name}`
      namespaces.push(namespace)
      ip('netns', 'add', namespace)
      ip('-n', namespace, 'link', 'set', 'lo', 'up')
      const veth = ['type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace]
      ip('-n', hub, 'link', 'add', `port${number}`, ...veth)
      ip('-n', hub, 'link', 'set', `port${number}`, 'master', 'br0', 'up')
      // Without duplicate address detection its link-local address is there at once.
      const quick = 'echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad'
      ip('netns', 'exec', namespace, 'sh', '-c', quick)
      ip('-n', namespace, 'link', 'set', 'eth0', 'up')
      const [v4, v6] = [`192.0.2.${number}`, `2001:db8::${number}`]
      ip('-n', namespace, 'address', 'add', `${v4}/24`, 'dev', 'eth0')
      ip('-n', namespace, 'address', 'add', `${v6}/64`, 'dev', 'eth0', 'nodad')
      const mac = /link\/ether (\S+)/.exec(ip('-n', namespace, 'link', 'show', 'eth0'))![1]!
      const inside = (command: readonly string[]) => ['netns', 'exec', namespace, ...command]
      const host: Host = {
        ...{ name, namespace, mac, v4, v6 },
        run: async (...command) => (await exec('ip', inside(command))).stdout,
        spawn(...command) {
          const child = spawn('ip', inside(command), { stdio: ['pipe', 'pipe', 'inherit'] })
          children.push(child)
          return child
        },
        async addresses() {
          const shown = await host.run('ip', '-o', 'address', 'show', 'dev', 'eth0')
          return [...shown.matchAll(/inet6? (\S+)/g)].map(([, address]) => address!)
        },
      }
      await until(async () => {
        const shown = await host.run('ip', '-o', '-6', 'address', 'show', 'scope', 'link')
        return /fe80/.test(shown) && !/tentative/.test(shown)
      }, `${name} has no link-local address`)
      return host
    },

    async member(host, options) {
      const settings: MemberSettings = {
        name: host.name,
        connection: options.connection,
        peerMacs: options.peerMacs ?? [],
        own: [host.v4, host.v6],
        interface: options.interface,
        dataDir: options.dataDir ?? (await mkdtemp(join(folder, 'member-'))),
        hook: options.hook,
      }
      const env = options.path ? { ...process.env, PATH: options.path } : process.env
      const child = spawn(
        'ip',
        ['netns', 'exec', host.namespace, process.execPath, program, JSON.stringify(settings)],
        { stdio: ['pipe', 'pipe', 'inherit'], env },
      )
      children.push(child)
      const member = createMember(child, settings)
      members.push(member)
      await member.said('started')
      return member
    },

    async stop() {
      await Promise.all(members.map(member => member.kill()))
      for (const child of children) child.kill('SIGKILL')
      await Promise.all(children.map(ended))
      for (const namespace of namespaces) ip('netns', 'delete', namespace)
      await rm(folder, { recursive: true, force: true })
    },
  }
}

export interface AddressMember {
  pid: number
  settings: MemberSettings
  heard: AddressSaid[]
  tell(command: string): void
  /** The first thing of that kind said after `from` (an index into `heard`). */
  said<S extends AddressSaid['said']>(
    kind: S,
    options?: { from?: number; where?(said: Extract<AddressSaid, { said: S }>): boolean },
  ): Promise<Extract<AddressSaid, { said: S }>>
  /** Tells it, and waits for what it says then. */
  ask<S extends AddressSaid['said']>(
    command: string,
    kind: S,
  ): Promise<Extract<AddressSaid, { said: S }>>
  status(): Promise<AddressStatus>
  /** The process that keeps its addresses. */
  keeperPid(): number | undefined
  /** The value of a metric with these labels; 0 if it was never counted. */
  metric(line: string): Promise<number>
  signal(signal: NodeJS.Signals): void
  kill(): Promise<void>
}

function createMember(child: ChildProcess, settings: MemberSettings): AddressMember {
  const heard: AddressSaid[] = []
  createInterface(child.stdout!).on('line', line => heard.push(JSON.parse(line) as AddressSaid))
  const member: AddressMember = {
    // `ip netns exec` becomes the program that it is given.
    pid: child.pid!,
    ...{ settings, heard },
    tell: command => void child.stdin!.write(`${command}\n`),
    said: (kind, { from = 0, where = () => true } = {}) =>
      until(
        async () =>
          heard
            .slice(from)
            .filter(said => said.said === kind)
            .find(said => where(said as never)) as never,
        () => `never said ${kind}: ${JSON.stringify(heard.slice(-20))}`,
      ),
    ask(command, kind) {
      const from = heard.length
      member.tell(command)
      return member.said(kind, { from })
    },
    status: async () => (await member.ask('status', 'status')).status,
    keeperPid() {
      const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')
      return children
        .split(' ')
        .filter(pid => pid !== '')
        .map(Number)
        .find(pid => commandOf(pid).includes('keeper-process'))
    },
    async metric(line) {
      const { text } = await member.ask('metrics', 'metrics')
      const found = text.split('\n').find(one => one.startsWith(`${line} `))
      return Number(found?.slice(line.length) ?? 0)
    },
    signal: signal => void child.kill(signal),
    async kill() {
      child.kill('SIGKILL')
      await ended(child)
    },
  }
  return member
}

export interface Witness {
  /** Frames so far: when (by the wall clock), from which MAC, what. */
  frames: { at: number; from: string; text: string }[]
}

/** Listens to address resolution as a third host sees it. */
export async function listen(host: Host): Promise<Witness> {
  const frames: Witness['frames'] = []
  const options = '-i eth0 -n -e -l -tt --immediate-mode'
  const child = host.spawn('sh', '-c', `exec tcpdump ${options} 'arp or icmp6' 2>/dev/null`)
  createInterface(child.stdout!).on('line', text => {
    const [, at, from] = /^(\d+\.\d+) (\S+) >/.exec(text) ?? []
    if (at !== undefined && from !== undefined) frames.push({ at: Number(at) * 1000, from, text })
  })
  // That it listens shows by what it hears.
  await until(async () => {
    await host.run('ndptool', '-t', 'rs', '-i', 'eth0', 'send')
    return frames.length > 0
  }, 'tcpdump hears nothing')
  return { frames }
}

/** Waits for something, asked again and again. @throws after 15 s with what was missing */
export async function until<T>(
  find: () => Promise<T | undefined | false>,
  missing: string | (() => string),
  withinMs = 15_000,
): Promise<T> {
  const deadline = performance.now() + withinMs
  for (;;) {
    const found = await find()
    if (found) return found
    if (performance.now() > deadline) {
      throw new Error(typeof missing === 'string' ? missing : missing())
    }
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
  return new Promise(resolve => child.once('exit', () => resolve()))
}

function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Empty if it has just ended. */
function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}
