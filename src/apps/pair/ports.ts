import { freePort, isFree, type Transport } from '../../lib/ports.ts'

/** What listens where; 0 = any free port. */
export const defaultPorts = {
  console: { port: 8440, transport: 'tcp', what: 'console of server-a' },
  standby_console: { port: 8441, transport: 'tcp', what: 'console of server-b' },
  collector_metrics: { port: 8442, transport: 'tcp', what: 'health and metrics of the collector' },
  netflow: { port: 2055, transport: 'udp', what: 'NetFlow' },
  ipfix: { port: 4739, transport: 'udp', what: 'IPFIX' },
  ipfix_tcp: { port: 4739, transport: 'tcp', what: 'IPFIX over TCP' },
  sflow: { port: 6343, transport: 'udp', what: 'sFlow' },
  syslog_udp: { port: 5514, transport: 'udp', what: 'syslog over UDP' },
  syslog_tcp: { port: 5514, transport: 'tcp', what: 'syslog over TCP' },
  traps: { port: 5162, transport: 'udp', what: 'SNMP traps' },
} as const satisfies Record<string, { port: number; transport: Transport; what: string }>

export type PortName = keyof typeof defaultPorts
export type Ports = Record<PortName, number>

/**
 * The ports to use: what was asked for, else what was used the last time, else the default. A port
 * nobody asked for that is taken is replaced by a free one, and that is said.
 * @throws Error if a port that was asked for is taken
 */
export async function choosePorts(
  asked: Partial<Ports>,
  before: Partial<Ports>,
  say: (line: string) => void,
): Promise<Ports> {
  const chosen: Partial<Ports> = {}
  for (const name of Object.keys(defaultPorts) as PortName[]) {
    const { port: standard, transport, what } = defaultPorts[name]
    const wanted = asked[name] ?? before[name] ?? standard
    if (wanted === 0) chosen[name] = await freePort()
    else if (await isFree(wanted, transport)) chosen[name] = wanted
    else if (asked[name] !== undefined) {
      throw new Error(`port ${wanted}/${transport} for ${what} is taken by another program`)
    } else {
      chosen[name] = await freePort()
      say(`port ${wanted}/${transport} is taken; ${what} uses ${chosen[name]}`)
    }
  }
  return chosen as Ports
}
