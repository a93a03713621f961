/**
 * A server that is nothing but an address. Reads its settings from the first
 * argument, commands from standard input, and writes what happens as JSON lines to standard output.
 * It counts datagrams to port 9999 and echoes what is sent to TCP port 9998.
 */
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import type { AddressStatus } from '../../src/failover/address/address.ts'
import { type ConnectionSettings, createAddresses } from '../../src/failover/address/addresses.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createLog } from '../../src/lib/log.ts'
import { createMetrics } from '../../src/lib/metrics.ts'

export interface MemberSettings {
  name: string
  /** Undefined: it starts with what it last knew. */
  connection?: ConnectionSettings | undefined
  peerMacs: readonly string[]
  own: readonly string[]
  interface?: string | undefined
  dataDir: string
  hook?: { command: readonly string[]; deadlineMs: number } | undefined
}

export type AddressSaid =
  | { said: 'started' | 'configured' | 'stopped' }
  | { said: 'taken'; at: number; ms: number }
  | { said: 'dropped'; ms: number; error?: string }
  | { said: 'datagram'; family: 'IPv4' | 'IPv6'; at: number }
  | { said: 'status'; status: AddressStatus }
  | { said: 'metrics'; text: string }

const settings = JSON.parse(process.argv[2]!) as MemberSettings
const renewMs = 200
const clock = systemClock
const log = createLog({ level: 'silent', part: 'address' })
const metrics = createMetrics({})
const address = createAddresses(
  {
    ...{ clock, log, metrics },
    peerMacs: () => settings.peerMacs,
    ownAddresses: () => settings.own,
  },
  {
    server: settings.name,
    dataDir: settings.dataDir,
    interface: settings.interface,
    hook: settings.hook,
  },
)

let renewing: NodeJS.Timeout | undefined
let heardSince = new Set<string>()

function renew(ms: number) {
  address.hold({ since: { monotonic: clock.monotonic(), wall: clock.wall() }, ms })
}

async function obey(line: string) {
  const [command, ...args] = line.split(' ')
  switch (command) {
    case 'take': {
      const [term = 0, holdMs = 0] = args.map(Number)
      heardSince = new Set()
      renew(holdMs)
      renewing = setInterval(renew, renewMs, holdMs)
      const at = Date.now()
      await address.take(term)
      return say({ said: 'taken', at, ms: Date.now() - at })
    }
    case 'renew-no-more':
      return clearInterval(renewing)
    case 'drop': {
      const before = Date.now()
      clearInterval(renewing)
      try {
        await address.drop()
        return say({ said: 'dropped', ms: Date.now() - before })
      } catch (error) {
        const { message } = error as Error
        return say({ said: 'dropped', ms: Date.now() - before, error: message })
      }
    }
    case 'configure':
      await address.configure(JSON.parse(args.join(' ')) as ConnectionSettings, {})
      return say({ said: 'configured' })
    case 'status':
      return say({ said: 'status', status: address.status() })
    case 'metrics':
      return say({ said: 'metrics', text: await metrics.metrics() })
    case 'stop':
      clearInterval(renewing)
      await address.stop()
      say({ said: 'stopped' })
  }
}

const socket = createSocket('udp6', (_datagram, { address: from }) => {
  const family = from.startsWith('::ffff:') ? 'IPv4' : 'IPv6'
  if (heardSince.has(family)) return
  heardSince.add(family)
  say({ said: 'datagram', family, at: Date.now() })
})
socket.bind(9999, '::')
createServer(connection => connection.on('error', () => {}).pipe(connection)).listen(9998, '::')

createInterface(process.stdin).on('line', line => void obey(line))
if (settings.connection) await address.configure(settings.connection, {})
await address.start()
say({ said: 'started' })

function say(said: AddressSaid) {
  process.stdout.write(`${JSON.stringify(said)}\n`)
}
