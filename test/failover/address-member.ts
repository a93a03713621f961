/**
 * A server that is nothing but a holder of virtual addresses. Reads its settings from the first
 * argument, commands from standard input, and writes what happens as JSON lines to standard output.
 * It counts datagrams to port 9999 and echoes what is sent to TCP port 9998.
 */
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import type { AddressStatus, VirtualAddress } from '../../src/failover/address/address.ts'
import { createAddressMeter } from '../../src/failover/address/meter.ts'
import { createVirtualIp } from '../../src/failover/address/virtual-ip.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createLog } from '../../src/lib/log.ts'
import { createMetrics } from '../../src/lib/metrics.ts'

export interface MemberSettings {
  addresses: readonly VirtualAddress[]
  peerMacs: readonly string[]
  own: readonly string[]
  interface?: string | undefined
  dataDir: string
}

export type AddressSaid =
  | { said: 'started'; keeperPid: number | undefined }
  | { said: 'taken'; at: number; ms: number }
  | { said: 'dropped'; ms: number; error?: string }
  | { said: 'configured' | 'stopped' }
  | { said: 'datagram'; family: 'IPv4' | 'IPv6'; at: number }
  | { said: 'status'; status: AddressStatus; keeperPid: number | undefined }
  | { said: 'metrics'; text: string }

const settings = JSON.parse(process.argv[2]!) as MemberSettings
const renewMs = 200
const clock = systemClock
const log = createLog({ level: 'silent', part: 'address' })
const metrics = createMetrics({})
const address = createVirtualIp(
  {
    ...{ clock, log },
    meter: createAddressMeter({ clock, log, metrics }),
    peerMacs: () => settings.peerMacs,
    ownAddresses: () => settings.own,
  },
  {
    addresses: settings.addresses,
    interface: settings.interface,
    dataDir: settings.dataDir,
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
      await address.configure(JSON.parse(args.join(' ')) as VirtualAddress[])
      return say({ said: 'configured' })
    case 'status':
      return say({ said: 'status', status: address.status(), keeperPid: address.keeperPid })
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
await address.start()
say({ said: 'started', keeperPid: address.keeperPid })

function say(said: AddressSaid) {
  process.stdout.write(`${JSON.stringify(said)}\n`)
}
