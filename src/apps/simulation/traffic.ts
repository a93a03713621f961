/** Conversations of an office with two sites and a data centre: who talks, about what, how much, when. */
import type { Random } from './random.ts'

/** What an exporter is about to report; addresses are IPv4 in text. */
export interface SimulatedFlow {
  srcAddr: string
  dstAddr: string
  srcPort: number
  dstPort: number
  protocol: number
  tcpFlags: number
  tos: number
  inIf: number
  outIf: number
  bytes: number
  packets: number
  /** Milliseconds since 1970. */
  start: number
  end: number
  srcAs: number
  dstAs: number
  nextHop: string
}

interface Application {
  port: number
  protocol: number
  weight: number
  /** Median bytes of the larger direction. */
  bytes: number
  servers: readonly { addr: string; as: number }[]
  tos: number
}

const tcp = 6
const udp = 17
const localAs = 64_512

const web = [
  { addr: '203.0.113.10', as: 64_496 },
  { addr: '203.0.113.44', as: 64_496 },
  { addr: '198.51.100.7', as: 64_497 },
  { addr: '198.51.100.80', as: 64_497 },
  { addr: '192.0.2.33', as: 64_498 },
  { addr: '192.0.2.121', as: 64_499 },
]
const internal = (last: number) => [{ addr: `10.0.10.${last}`, as: localAs }]

const applications: readonly Application[] = [
  { port: 443, protocol: tcp, weight: 46, bytes: 90_000, servers: web, tos: 0 },
  { port: 443, protocol: udp, weight: 14, bytes: 160_000, servers: web.slice(0, 3), tos: 0 },
  { port: 53, protocol: udp, weight: 14, bytes: 300, servers: internal(53), tos: 0 },
  { port: 445, protocol: tcp, weight: 6, bytes: 700_000, servers: internal(20), tos: 0 },
  { port: 5432, protocol: tcp, weight: 5, bytes: 60_000, servers: internal(32), tos: 0 },
  { port: 22, protocol: tcp, weight: 3, bytes: 40_000, servers: internal(22), tos: 64 },
  { port: 5060, protocol: udp, weight: 2, bytes: 4000, servers: internal(60), tos: 96 },
  { port: 16_384, protocol: udp, weight: 4, bytes: 250_000, servers: internal(60), tos: 184 },
  { port: 123, protocol: udp, weight: 3, bytes: 152, servers: internal(123), tos: 0 },
  { port: 8883, protocol: tcp, weight: 3, bytes: 9000, servers: web.slice(4), tos: 0 },
]
const totalWeight = applications.reduce((sum, application) => sum + application.weight, 0)

/** How busy the network is at a moment, 0.1 at night to 1 at noon, less at week-ends. */
export function activityAt(time: number): number {
  const date = new Date(time)
  const hour = date.getHours() + date.getMinutes() / 60
  const hump = (centre: number, width: number) => Math.exp(-(((hour - centre) / width) ** 2))
  const weekend = date.getDay() % 6 === 0 ? 0.45 : 1
  return (
    0.1 + 0.9 * weekend * Math.min(1, hump(10.5, 2.4) + 0.9 * hump(15, 2.6) + 0.3 * hump(20.5, 2))
  )
}

/** One conversation seen at an exporter, both directions as two flows, ending at `end`. */
export function conversation(
  random: Random,
  exporter: { clients: string; interfaces: number },
  end: number,
): SimulatedFlow[] {
  const application = pickApplication(random)
  const server = random.pick(application.servers)
  // A few clients cause most of the traffic, as everywhere.
  const client = `${exporter.clients}.${10 + Math.floor(80 * random.next() ** 3)}`
  const clientPort = 32_768 + random.below(28_000)
  const clientIf = 1 + random.below(Math.max(1, exporter.interfaces - 2))
  const serverIf = server.as === localAs ? exporter.interfaces - 1 : exporter.interfaces
  const down = Math.min(2e8, Math.max(80, Math.round(random.skewed(application.bytes, 1.3))))
  const up = Math.max(60, Math.round(down * (0.03 + 0.1 * random.next())))
  const duration = Math.min(55_000, Math.round(random.skewed(3000, 1)))
  const common = {
    protocol: application.protocol,
    tcpFlags: application.protocol === tcp ? 0x1b : 0,
    tos: application.tos,
    start: end - duration,
    end,
    nextHop: '10.0.0.1',
  }
  return [
    {
      ...common,
      srcAddr: client,
      dstAddr: server.addr,
      srcPort: clientPort,
      dstPort: application.port,
      inIf: clientIf,
      outIf: serverIf,
      bytes: up,
      packets: Math.max(1, Math.ceil(up / 120)),
      srcAs: localAs,
      dstAs: server.as,
    },
    {
      ...common,
      srcAddr: server.addr,
      dstAddr: client,
      srcPort: application.port,
      dstPort: clientPort,
      inIf: serverIf,
      outIf: clientIf,
      bytes: down,
      packets: Math.max(1, Math.ceil(down / 1300)),
      srcAs: server.as,
      dstAs: localAs,
    },
  ]
}

function pickApplication(random: Random): Application {
  let at = random.next() * totalWeight
  for (const application of applications) {
    at -= application.weight
    if (at < 0) return application
  }
  return applications[0]!
}
