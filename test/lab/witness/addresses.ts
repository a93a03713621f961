/**
 * Listens on every port of the bridge for who claims which address (ARP, and neighbour advertisements
 * of IPv6), while the person's host asks for it again and again.
 */
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Host } from '../network.ts'

export interface Claim {
  /** Milliseconds of this process. */
  at: number
  address: string
  mac: string
}

export interface AddressesWitness {
  readonly claims: readonly Claim[]
  start(): Promise<void>
  stop(): Promise<void>
  /** Sentences about two hosts that answered for an address in turn, for longer than `graceMs`. */
  violations(graceMs?: number): string[]
  /** What was seen so far is no longer looked at for violations. */
  forget(): void
  /** When a host first claimed an address after a moment, undefined if it has not. */
  firstClaim(address: string, mac: string, after: number): number | undefined
}

const maxClaims = 200_000
const askEverySeconds = 1
const backAndForthMs = 1500
/** `Reply 10.77.0.9 is-at aa:…`, and a request for its own address, which claims it too. */
const arp = /Reply (\S+) is-at ([0-9a-f:]{17})/
const announcement = /([0-9a-f:]{17}) .*Request who-has (\S+?) (?:\(.*?\) )?tell (\S+?),/
const advertisement = /neighbor advertisement, tgt is (\S+?),/
const source = /([0-9a-f]{2}(?::[0-9a-f]{2}){5})/

export function createAddressesWitness(
  bridgeNamespace: string,
  person: Host,
  addresses: readonly string[],
): AddressesWitness {
  const claims: Claim[] = []
  const children: ChildProcess[] = []

  function note(address: string, mac: string) {
    if (!addresses.includes(address) || claims.length >= maxClaims) return
    claims.push({ at: performance.now(), address, mac })
  }

  function hear(line: string) {
    const reply = arp.exec(line)
    if (reply) return note(reply[1]!, reply[2]!)
    const asked = announcement.exec(line)
    if (asked && asked[2] === asked[3]) return note(asked[2]!, asked[1]!)
    const advertised = advertisement.exec(line)
    const mac = source.exec(line)
    if (advertised && mac) note(advertised[1]!, mac[1]!)
  }

  return {
    claims,
    async start() {
      const dump = spawn(
        'ip',
        [
          ...['netns', 'exec', bridgeNamespace, 'tcpdump', '-l', '-n', '-e', '-i', 'any'],
          // Neighbour advertisements are of type 136.
          'inbound and (arp or (icmp6 and ip6[40] == 136))',
        ],
        { stdio: ['ignore', 'pipe', 'pipe'] },
      )
      children.push(dump)
      createInterface(dump.stdout!).on('line', hear)
      await once(dump.stderr!, 'data', { signal: AbortSignal.timeout(10_000) })
      dump.stderr!.resume()
      for (const address of addresses.filter(one => !one.includes(':'))) {
        children.push(
          person.spawn('arping', ['-b', '-i', String(askEverySeconds), '-I', 'eth0', address], {
            stdio: 'ignore',
          }),
        )
      }
    },
    async stop() {
      await Promise.all(
        children.splice(0).map(async child => {
          if (child.exitCode !== null || child.signalCode !== null) return
          const ended = once(child, 'exit')
          child.kill('SIGKILL')
          await ended
        }),
      )
    },
    violations(graceMs = 0) {
      const found: string[] = []
      for (const address of addresses) {
        for (const { macs, ms } of contests(claims.filter(claim => claim.address === address))) {
          if (ms <= graceMs) continue
          found.push(
            `${macs.join(' and ')} answered for ${address} in turn, for ${ms.toFixed(0)} ms`,
          )
        }
      }
      return found
    },
    forget: () => void claims.splice(0, claims.length),
    firstClaim: (address, mac, after) =>
      claims.find(claim => claim.at > after && claim.mac === mac && claim.address === address)?.at,
  }
}

/** Times in which hosts answered in turn. */
function contests(claims: readonly Claim[]): { macs: string[]; ms: number }[] {
  const runs = runsOf(claims)
  // Nobody takes an address over and back again as fast.
  const inTurn = runs.map((_, index) => {
    const [before, after] = [runs[index - 1], runs[index + 1]]
    return before?.mac === after?.mac && after !== undefined
      ? after.from - before!.to <= backAndForthMs
      : false
  })
  const found: { macs: string[]; ms: number }[] = []
  for (let first = 0; first < runs.length; first++) {
    if (!inTurn[first]) continue
    let last = first
    while (inTurn[last + 1]) last++
    const macs = [...new Set(runs.slice(first - 1, last + 2).map(({ mac }) => mac))]
    found.push({ macs, ms: runs[last + 1]!.from - runs[first]!.from })
    first = last
  }
  return found
}

interface Run {
  mac: string
  from: number
  to: number
}

/** Claims by the same host without another's between them. */
function runsOf(claims: readonly Claim[]): Run[] {
  const runs: Run[] = []
  for (const { at, mac } of claims) {
    const last = runs.at(-1)
    if (last?.mac === mac) last.to = at
    else runs.push({ mac, from: at, to: at })
  }
  return runs
}
