/**
 * The kernel's addresses, by the programs that administrators use: `ip` (iproute2), `arping`
 * (iputils-arping), `ndisc6` and `ndptool` (libndp-tools). They need CAP_NET_ADMIN and CAP_NET_RAW.
 */
import { spawn } from 'node:child_process'
import { isIPv6 } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from './address.ts'
import { addressLine, linesAhead } from './ip-batch.ts'
import { linger } from './linger.ts'
import type { Change, Link } from './plan.ts'

export interface Kernel {
  links(): Promise<Link[]>
  /**
   * Carries the changes out in order, each by itself: one that fails does not stop the rest.
   * @param lifetimeSeconds after which the kernel drops what is added by itself
   * @throws Error with what failed
   */
  apply(changes: readonly Change[], lifetimeSeconds: number): Promise<void>
  /** Lets the kernel keep them for so long from now. @throws Error */
  extend(held: readonly Change[], lifetimeSeconds: number): Promise<void>
  /**
   * Asks the network who has an address: an ARP probe (RFC 5227 §2.1.1) or a neighbour solicitation
   * (RFC 4861 §4.3).
   * @returns the MAC addresses that answered within `probeMs`
   * @throws Error if it could not be asked
   */
  probe(address: string, link: string, signal: AbortSignal): Promise<string[]>
  /**
   * Tells the network once who has an address: gratuitous ARP as request and as answer (RFC 5227 §3),
   * or an unsolicited neighbour advertisement (RFC 4861 §7.2.6).
   * @throws Error
   */
  announce(address: string, link: string, signal: AbortSignal): Promise<void>
  /**
   * Deletes these addresses, and goes on receiving what is sent to them, without answering for them:
   * see `linger.ts`.
   * @returns what ends it
   * @throws Error; then nothing lingers, and what is left is to be deleted
   */
  linger(held: readonly Change[], seconds: number): Promise<() => Promise<void>>
}

/**
 * How long an answer to a probe is waited for: much shorter than RFC 5227 has it, because a takeover
 * waits for it. Who answers later is found when the address is held.
 */
const probeMs = 150
/** One datagram may be lost: a second one is sent after as long. */
const probeAgainMs = 60
/** `ip` answers in milliseconds; on a machine that hardly moves, in seconds. */
const ipDeadlineMs = 3000
const announceDeadlineMs = 3000
const keptBytes = 65_536

/** By command, the Debian package that brings it. */
const packages = {
  ip: 'iproute2',
  arping: 'iputils-arping',
  ndisc6: 'ndisc6',
  ndptool: 'libndp-tools',
  nsupdate: 'bind9-dnsutils',
}

export interface RequiredTool {
  /** The command. */
  name: keyof typeof packages
  /** The Debian package that brings it. */
  package: string
  /** What it is needed for. */
  purpose: string
}

/** The programs that a way of connecting needs on both servers. */
export function requiredTools(connection: Connection): RequiredTool[] {
  const tool = (name: keyof typeof packages, purpose: string): RequiredTool => ({
    ...{ name, package: packages[name], purpose },
  })
  if (connection.type === 'none') return []
  if (connection.type === 'virtual-name') return [tool('nsupdate', 'to change the name')]
  const six = connection.addresses.some(({ address }) => isIPv6(address))
  const four = connection.addresses.some(({ address }) => !isIPv6(address))
  return [
    tool('ip', 'to add and delete the address'),
    ...(four ? [tool('arping', 'to probe for IPv4 addresses and to announce them')] : []),
    ...(six ? [tool('ndisc6', 'to probe for IPv6 addresses')] : []),
    ...(six ? [tool('ndptool', 'to announce IPv6 addresses')] : []),
  ]
}

export function createKernel(): Kernel {
  return {
    async links() {
      const { output } = await run('ip', ['-json', 'address', 'show'], { deadlineMs: ipDeadlineMs })
      return linksOf(JSON.parse(output))
    },

    apply: (changes, seconds) =>
      batch(
        changes.flatMap(change => [...linesAhead(change), addressLine(change.do, change, seconds)]),
      ),

    extend: (held, seconds) => batch(held.map(one => addressLine('change', one, seconds))),

    async probe(address, link, signal) {
      const answers = isIPv6(address)
        ? [
            ask(
              'ndisc6',
              ['-1', '-n', '-q', '-r', '1', '-w', String(probeMs), address, link],
              signal,
            ),
          ]
        : [0, probeAgainMs].map(async afterMs => {
            await sleep(afterMs, undefined, { signal }).catch(() => {})
            return ask('arping', ['-D', '-c', '1', '-I', link, address], signal, probeMs - afterMs)
          })
      return [...new Set((await Promise.all(answers)).flat())]
    },

    async announce(address, link, signal) {
      const options = { deadlineMs: announceDeadlineMs, signal }
      const runs = isIPv6(address)
        ? [run('ndptool', ['-t', 'na', '-U', '-i', link, '-T', address, 'send'], options)]
        : ['-U', '-A'].map(form =>
            run('arping', ['-q', form, '-c', '1', '-I', link, '-s', address, address], options),
          )
      await Promise.all(runs)
    },

    linger: (held, seconds) => linger(batch, held, seconds),
  }
}

async function batch(lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return
  const input = `${lines.join('\n')}\n`
  await run('ip', ['-force', '-batch', '-'], { deadlineMs: ipDeadlineMs, input })
}

/** @returns the MAC addresses in the program's answer */
async function ask(
  program: 'arping' | 'ndisc6',
  args: readonly string[],
  signal: AbortSignal,
  waitMs = 2 * probeMs,
): Promise<string[]> {
  if (signal.aborted) return []
  const ended = await end(program, args, { deadlineMs: waitMs, signal })
  const macs = ended.output.match(/\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b/gi) ?? []
  if (macs.length > 0 || ended.killed) return macs.map(mac => mac.toLowerCase())
  // arping says 0 and ndisc6 says 2 when nobody has answered.
  if (ended.code === (program === 'arping' ? 0 : 2)) return []
  throw new Error(`${program}: ${ended.errors || `exit code ${ended.code}`}`)
}

interface Options {
  deadlineMs: number
  input?: string
  signal?: AbortSignal
}

/** @throws Error in the program's own words if it fails; an abort is no failure */
async function run(
  program: keyof typeof packages,
  args: readonly string[],
  options: Options,
): Promise<{ output: string }> {
  const ended = await end(program, args, options)
  if (ended.killed && !options.signal?.aborted) {
    throw new Error(`${program} has not answered for ${options.deadlineMs} ms`)
  }
  if (ended.killed || ended.code === 0) return ended
  const denied = /not permitted|permission denied/i.test(ended.errors)
  const advice = denied ? '; the server needs the capabilities CAP_NET_ADMIN and CAP_NET_RAW' : ''
  throw new Error(`${program}: ${ended.errors || `exit code ${ended.code}`}${advice}`)
}

interface Ended {
  code: number | null
  /** By the deadline or the signal. */
  killed: boolean
  output: string
  /** What it wrote to standard error, in one line. */
  errors: string
}

function end(
  program: keyof typeof packages,
  args: readonly string[],
  { deadlineMs, input, signal }: Options,
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    const texts = { output: '', errors: '' }
    let killed = false
    const kill = () => {
      killed = true
      child.kill('SIGKILL')
    }
    const late = setTimeout(kill, deadlineMs)
    if (signal?.aborted) kill()
    signal?.addEventListener('abort', kill, { once: true })
    const settle = () => {
      clearTimeout(late)
      signal?.removeEventListener('abort', kill)
    }
    child.stdout.on('data', chunk => {
      texts.output += chunk
    })
    child.stderr.on('data', chunk => {
      texts.errors = `${texts.errors}${chunk}`.slice(0, keptBytes)
    })
    // A program that ends before it has read everything says why by itself.
    child.stdin.on('error', () => {}).end(input)
    child.once('error', (error: NodeJS.ErrnoException) => {
      settle()
      const missing = `${program} is missing: install the package ${packages[program]}`
      reject(error.code === 'ENOENT' ? new Error(missing) : error)
    })
    child.once('close', code => {
      settle()
      const errors = texts.errors.trim().replaceAll(/\s*\n\s*/g, '; ')
      resolve({ code, killed, output: texts.output, errors })
    })
  })
}

const forever = 4_294_967_295

interface ShownLink {
  ifname: string
  flags: string[]
  address?: string
  addr_info: { local?: string; prefixlen: number; valid_life_time: number }[]
}

/** From the answer of `ip -json address show`. */
function linksOf(shown: readonly ShownLink[]): Link[] {
  return shown.map(({ ifname, flags, address, addr_info }) => ({
    name: ifname,
    loopback: flags.includes('LOOPBACK'),
    up: flags.includes('UP'),
    carrier: flags.includes('LOWER_UP'),
    mac: address?.toLowerCase(),
    addresses: addr_info.flatMap(({ local, prefixlen, valid_life_time }) =>
      local === undefined
        ? []
        : [{ address: local, prefix: prefixlen, permanent: valid_life_time === forever }],
    ),
  }))
}
