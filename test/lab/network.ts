/**
 * A network of its own on this machine: hosts are network namespaces on one bridge, and each has a
 * second interface, `mgmt0`, through which only the tests look. Whatever a test breaks, it breaks on
 * the first. Needs root.
 */
import {
  type ChildProcess,
  execFile,
  execFileSync,
  type SpawnOptions,
  spawn,
} from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

const execute = promisify(execFile)
const commandDeadlineMs = 20_000
const claims = '/run/keepwatch-lab'
const programs = ['ip', 'nft', 'tcpdump', 'arping', 'curl', 'ethtool', 'python3']

/** Why this machine cannot run the lab, undefined if it can. */
export function labObstacle(more: readonly string[] = []): string | undefined {
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  const missing = [...programs, ...more].filter(
    program =>
      !['/usr/sbin', '/usr/bin', '/sbin', '/bin'].some(dir => existsSync(join(dir, program))),
  )
  return missing.length > 0 ? `${missing.join(', ')} not installed` : undefined
}

/** Which way datagrams are lost, as the host sees it that has the rule. */
export type Way = 'both' | 'in' | 'out'

export interface Host {
  readonly name: string
  readonly namespace: string
  readonly ipv4: string
  readonly ipv6: string
  /** Reached from the tests, whatever happens to the network. */
  readonly management: string
  /** Of `eth0`. */
  readonly mac: string
  /** Runs a command in the host to its end. @throws with what it said, unless it ends with 0 */
  run(command: string, ...args: string[]): Promise<string>
  /** Starts a program in the host. */
  spawn(command: string, args: readonly string[], options: SpawnOptions): ChildProcess
  /** Ids of all processes in the host. */
  pids(): Promise<number[]>
  signalAll(signal: NodeJS.Signals): Promise<void>
  /** Pulls the cable out. */
  cut(): Promise<void>
  /** Drops what goes to or comes from another host. */
  cutFrom(other: Host, way?: Way): Promise<void>
  /** Answers the other host that nothing listens here, without asking any program. */
  reject(other: Host): Promise<void>
  /** Loses so many of a hundred datagrams, each way. */
  lose(percent: number): Promise<void>
  /** Everything between this host and the network comes so much later, each way. */
  delay(ms: number): Promise<void>
  /** Cable in, no rules, no delay. */
  heal(): Promise<void>
}

export interface Network {
  readonly slot: number
  /** Also the prefix of every name in the system that belongs to this network. */
  readonly name: string
  host(name: string): Host
  readonly hosts: ReadonlyMap<string, Host>
  /** The namespace with the bridge `lan`, to which all hosts are connected. */
  readonly bridgeNamespace: string
  close(): Promise<void>
}

/** Addresses by number: the same in every lab, since nobody outside can reach them. */
export const ipv4 = (number: number) => `10.77.0.${number}`
export const ipv6 = (number: number) => `fd77::${number}`

/**
 * @param names of the hosts, with the number in their addresses
 * @param options.aliases more names that the hosts should know
 * @param options.folder what belongs to the network, and is removed with it if this process is killed
 */
export async function openNetwork(
  names: Readonly<Record<string, number>>,
  options: { aliases?: Readonly<Record<string, readonly string[]>>; folder?: string } = {},
): Promise<Network> {
  await sweep()
  const slot = claim(options.folder)
  const name = `kwlab${slot}`
  const bridgeNamespace = `${name}-lan`
  const management = (number: number) => `198.18.${slot}.${number}`
  const hostsFile = [
    '127.0.0.1 localhost',
    '::1 localhost',
    ...Object.entries(names).flatMap(([host, number]) => [
      `${ipv4(number)} ${host}`,
      `${ipv6(number)} ${host}`,
    ]),
    ...Object.entries(options.aliases ?? {}).flatMap(([alias, addresses]) =>
      addresses.map(address => `${address} ${alias}`),
    ),
  ].join('\n')

  const script = ['set -e', `ip netns add ${bridgeNamespace}`]
  const lan = `ip -n ${bridgeNamespace}`
  for (const bridge of ['lan', 'mgmt']) {
    script.push(
      `${lan} link add ${bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
      `${lan} link set ${bridge} up`,
    )
  }
  script.push(
    `ip link add ${name} type veth peer name root netns ${bridgeNamespace}`,
    `${lan} link set root master mgmt up`,
    `ip addr add ${management(254)}/24 dev ${name}`,
    `ip link set ${name} up`,
  )
  for (const [host, number] of Object.entries(names)) {
    const namespace = `${name}-${host}`
    const inside = `ip -n ${namespace}`
    mkdirSync(`/etc/netns/${namespace}`, { recursive: true })
    writeFileSync(`/etc/netns/${namespace}/hosts`, `${hostsFile}\n`)
    script.push(
      `ip netns add ${namespace}`,
      `ip netns exec ${namespace} sysctl -qw net.ipv6.conf.all.keep_addr_on_down=1 net.ipv6.conf.default.keep_addr_on_down=1`,
      `ip link add eth0 netns ${namespace} type veth peer name ${host} netns ${bridgeNamespace}`,
      `ip link add mgmt0 netns ${namespace} type veth peer name m-${host} netns ${bridgeNamespace}`,
      `${lan} link set ${host} master lan up`,
      `${lan} link set m-${host} master mgmt up`,
      `${inside} link set lo up`,
      `${inside} addr add ${ipv4(number)}/24 dev eth0`,
      `${inside} addr add ${ipv6(number)}/64 dev eth0 nodad`,
      `${inside} addr add ${management(number)}/24 dev mgmt0`,
      `${inside} link set eth0 up`,
      `${inside} link set mgmt0 up`,
    )
  }
  const hosts = new Map<string, Host>()
  try {
    await execute('sh', ['-c', script.join('\n')], { timeout: commandDeadlineMs })
    for (const [host, number] of Object.entries(names)) {
      hosts.set(host, await createHost(name, host, number, management(number)))
    }
  } catch (error) {
    await remove(slot)
    throw error
  }
  return {
    slot,
    name,
    hosts,
    bridgeNamespace,
    host(wanted) {
      const found = hosts.get(wanted)
      if (!found) throw new Error(`there is no host ${wanted} in the lab`)
      return found
    },
    close: () => remove(slot),
  }
}

async function createHost(
  network: string,
  name: string,
  number: number,
  management: string,
): Promise<Host> {
  const namespace = `${network}-${name}`
  const rules = new Map<string, string[]>()
  let lossPercent = 0
  let delayed: ChildProcess | undefined
  const run = async (command: string, ...args: string[]) =>
    (
      await execute('ip', ['netns', 'exec', namespace, command, ...args], {
        timeout: commandDeadlineMs,
      })
    ).stdout
  const bridge = (...args: string[]) =>
    execute('ip', ['-n', `${network}-lan`, ...args], { timeout: commandDeadlineMs })
  const { address: mac } = JSON.parse(await run('ip', '-j', 'link', 'show', 'eth0'))[0] as {
    address: string
  }

  /** One ruleset for all, replaced as a whole. */
  async function applyRules() {
    const all = [...rules.values()].flat()
    const chain = (way: 'in' | 'out') => {
      const lost = lossPercent > 0 ? [`numgen random mod 100 < ${lossPercent} drop`] : []
      const hook = way === 'in' ? 'input' : 'output'
      const interfaces = way === 'in' ? 'iifname' : 'oifname'
      const lines = all.filter(line => line.startsWith(`${way} `)).map(line => line.slice(4).trim())
      return `chain ${hook} { type filter hook ${hook} priority 0;
        ${[...lines, ...lost].map(line => `${interfaces} "eth0" ${line}`).join('\n')}
      }`
    }
    const text = `table inet lab\ndelete table inet lab\ntable inet lab {\n${chain('in')}\n${chain('out')}\n}\n`
    const nft = spawn('ip', ['netns', 'exec', namespace, 'nft', '-f', '-'], {
      stdio: ['pipe', 'ignore', 'pipe'],
    })
    let said = ''
    nft.stderr!.on('data', data => {
      said += data
    })
    nft.stdin!.end(text)
    const code = await new Promise<number | null>(resolve => nft.once('close', resolve))
    if (code !== 0) throw new Error(`nft in ${namespace}: ${said}\n${text}`)
  }

  async function endDelay() {
    const forwarder = delayed
    if (!forwarder) return
    delayed = undefined
    const ended = new Promise(resolve => forwarder.once('close', resolve))
    forwarder.kill('SIGKILL')
    await ended
    await bridge('link', 'set', name, 'master', 'lan')
  }

  return {
    name,
    namespace,
    ipv4: ipv4(number),
    ipv6: ipv6(number),
    management,
    mac,
    run,
    spawn: (command, args, options) =>
      spawn('ip', ['netns', 'exec', namespace, command, ...args], options),
    pids: () => pidsIn(namespace),
    async signalAll(signal) {
      // Those that fork meanwhile are met in the second round.
      for (let round = 0; round < 2; round++) {
        for (const pid of await pidsIn(namespace)) sendSignal(pid, signal)
      }
    },
    cut: async () => void (await bridge('link', 'set', name, 'down')),
    async cutFrom(other, way = 'both') {
      const lines: string[] = []
      if (way !== 'out')
        lines.push(`in  ip saddr ${other.ipv4} drop`, `in  ip6 saddr ${other.ipv6} drop`)
      if (way !== 'in')
        lines.push(`out ip daddr ${other.ipv4} drop`, `out ip6 daddr ${other.ipv6} drop`)
      rules.set(other.name, lines)
      await applyRules()
    },
    async reject(other) {
      rules.set(other.name, [
        `in  ip saddr ${other.ipv4} meta l4proto tcp reject with tcp reset`,
        `in  ip6 saddr ${other.ipv6} meta l4proto tcp reject with tcp reset`,
      ])
      await applyRules()
    },
    async lose(percent) {
      lossPercent = percent
      await applyRules()
    },
    async delay(ms) {
      await endDelay()
      if (ms === 0) return
      // Packets must come whole and with their checksums, since a program carries them on.
      await run('ethtool', '-K', 'eth0', 'tx', 'off', 'tso', 'off', 'gso', 'off')
      const forwarder = spawn(
        'ip',
        [
          ...['netns', 'exec', `${network}-lan`, 'python3', '-I'],
          join(import.meta.dirname, 'delay.py'),
          ...[name, 'lan', String(ms)],
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      )
      delayed = forwarder
      await bridge('link', 'set', name, 'nomaster')
      await new Promise<void>((resolve, reject) => {
        forwarder.stdout!.once('data', () => resolve())
        forwarder.once('close', () => reject(new Error('the forwarder that delays did not start')))
      })
    },
    async heal() {
      await endDelay()
      await bridge('link', 'set', name, 'up')
      if (rules.size === 0 && lossPercent === 0) return
      rules.clear()
      lossPercent = 0
      await applyRules()
    },
  }
}

async function pidsIn(namespace: string): Promise<number[]> {
  const { stdout } = await execute('ip', ['netns', 'pids', namespace])
  return stdout.split('\n').filter(Boolean).map(Number)
}

function sendSignal(pid: number, signal: NodeJS.Signals) {
  try {
    process.kill(pid, signal)
  } catch {
    // It has just ended.
  }
}

/** Takes the first number that no other lab has. */
function claim(folder: string | undefined): number {
  mkdirSync(claims, { recursive: true })
  for (let slot = 1; slot < 200; slot++) {
    try {
      writeFileSync(join(claims, `${slot}.json`), JSON.stringify({ ...self(), folder }), {
        flag: 'wx',
      })
      return slot
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
  throw new Error(`199 labs are open: see ${claims}`)
}

interface Owner {
  pid: number
  /** When it was started, in ticks since boot: pids come again. */
  started: string
  folder?: string
}

function self(): Owner {
  return { pid: process.pid, started: startOf(process.pid) ?? '' }
}

function startOf(pid: number): string | undefined {
  try {
    // The name, in parentheses, may have blanks.
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ')[19]
  } catch {
    return undefined
  }
}

/** Removes the networks of processes that are gone. */
async function sweep(): Promise<void> {
  if (!existsSync(claims)) return
  for (const file of readdirSync(claims)) {
    let owner: Owner | undefined
    try {
      owner = JSON.parse(readFileSync(join(claims, file), 'utf8'))
    } catch {
      continue
    }
    if (owner === undefined || startOf(owner.pid) === owner.started) continue
    await remove(Number.parseInt(file, 10))
    if (owner.folder === undefined) continue
    unmountBelow(owner.folder)
    rmSync(owner.folder, { recursive: true, force: true })
  }
}

/** Ends whatever runs in a network and removes all of it. */
async function remove(slot: number): Promise<void> {
  const prefix = `kwlab${slot}-`
  const { stdout } = await execute('ip', ['netns', 'list'])
  const namespaces = stdout
    .split('\n')
    .map(line => line.split(' ')[0]!)
    .filter(name => name.startsWith(prefix))
  for (const namespace of namespaces) {
    for (let round = 0; round < 20; round++) {
      const pids = await pidsIn(namespace)
      if (pids.length === 0) break
      for (const pid of pids) sendSignal(pid, 'SIGKILL')
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
  for (const namespace of namespaces) {
    await execute('ip', ['netns', 'del', namespace]).catch(() => {})
    rmSync(`/etc/netns/${namespace}`, { recursive: true, force: true })
  }
  await execute('ip', ['link', 'del', `kwlab${slot}`]).catch(() => {})
  rmSync(join(claims, `${slot}.json`), { force: true })
}

/** Mounts that a lab has made below a folder, taken away whatever they do. */
export function unmountBelow(folder: string): void {
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map(line => line.split(' ')[1] ?? '')
    .filter(target => target.startsWith(`${folder}/`))
  for (const target of mounts.reverse()) execFileSync('umount', ['-l', target])
}
