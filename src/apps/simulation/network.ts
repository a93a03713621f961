/** The simulated network: exporters, devices that log and trap, and two that one can log in to. */
import { createSocket, type Socket } from 'node:dgram'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import {
  bootBefore,
  createIpfix,
  createNetflow5,
  createNetflow9,
  createSflow,
  type FlowExport,
} from './flow-export.ts'
import type { SimulatedInterface } from './interface-export.ts'
import { authenticationTrapV1, iosSyslog, linkTrap, linuxSyslog } from './notifications.ts'
import { createRandom, type Random } from './random.ts'
import { activityAt, conversation, type SimulatedFlow } from './traffic.ts'

export interface CollectorPorts {
  host: string
  netflow: number
  ipfix: number
  sflow: number
  syslog_udp: number
  traps: number
}

/** A device that logs and traps, and whose configuration somebody changes now and then. */
export interface LoggingDevice {
  kind: 'ios' | 'frr'
  hostname: string
  address: string
  /** Changes the configuration as this user; the device then says so. */
  configure(user: string, change: readonly string[]): void
}

export interface SimulatedNetwork extends Component {
  /** What a device logs when this user has changed its configuration. */
  sayConfigured(hostname: string, user: string, from: string): void
}

const secondMs = 1000
const dayMs = 86_400_000
/** Pairs of flows a second and exporter at full activity. */
const pairsPerSecond = 12
/** The past is sent in slices of five minutes, each with so many pairs of flows at full activity. */
const sliceMs = 300_000
const pairsPerSlice = 320
/** Many of the largest at the same moment would be a spike that nobody's day has. */
const largestOfMany = 800_000
const describeEveryMs = 10_000
const describedAtOnce = 8
const firstChangeMs = 20_000
const changeEveryMs = 10 * 60_000

/**
 * @param config.history true: begins with the flows of the past day, so that there is a day to look at
 */
export function createSimulatedNetwork(
  deps: { clock: Clock; devices: readonly LoggingDevice[] },
  config: { ports: CollectorPorts; history: boolean; seed: number },
): SimulatedNetwork {
  const { clock } = deps
  const { ports } = config
  const random = createRandom(config.seed)
  const boot = bootBefore(clock.wall())
  const exporters = [
    exporter('127.1.0.1', '10.1.0', 8, ports.netflow, createNetflow5(boot), true),
    exporter('127.1.0.2', '10.2.0', 12, ports.netflow, createNetflow9(boot, 7), true),
    exporter('127.1.0.3', '10.3.0', 6, ports.ipfix, createIpfix(42), true),
    exporter('127.1.0.4', '10.4.0', 24, ports.sflow, createSflow(boot, '127.1.0.4', 64), false),
  ]
  const loggers = deps.devices.map(device => ({ ...sender(device.address), device }))
  const timers: NodeJS.Timeout[] = []
  let stopping = new AbortController()
  let sequence = 1000
  let history: Promise<void> = Promise.resolve()

  function exporter(
    address: string,
    clients: string,
    interfaces: number,
    port: number,
    encoder: FlowExport,
    remembers: boolean,
  ) {
    return { ...sender(address), clients, interfaces, port, encoder, remembers }
  }

  function tick() {
    const now = clock.wall()
    for (const one of exporters) {
      const flows = conversations(one, now, pairsPerSecond * activityAt(now))
      send(one, flows, now)
    }
  }

  /** Exporters say this again and again, for collectors that came later. */
  function describeInterfaces() {
    const now = clock.wall()
    for (const { encoder, interfaces, send, port } of exporters) {
      const all = Array.from({ length: interfaces }, (_, index) =>
        interfaceOf(index + 1, interfaces),
      )
      for (let at = 0; at < all.length && encoder.describe; at += describedAtOnce) {
        send(encoder.describe(all.slice(at, at + describedAtOnce), now), port, ports.host)
      }
    }
  }

  function conversations(
    one: { clients: string; interfaces: number },
    end: number,
    pairs: number,
  ): SimulatedFlow[] {
    const flows: SimulatedFlow[] = []
    const count = Math.floor(pairs) + (random.next() < pairs % 1 ? 1 : 0)
    for (let i = 0; i < count; i++)
      flows.push(...conversation(random, one, end - random.below(1000)))
    return flows
  }

  function send(one: (typeof exporters)[number], flows: SimulatedFlow[], now: number) {
    for (let at = 0; at < flows.length; at += one.encoder.perDatagram) {
      const part = flows.slice(at, at + one.encoder.perDatagram)
      one.send(one.encoder.encode(part, now), one.port, ports.host)
    }
  }

  /** The past day, oldest first, slowly enough that nothing overflows. */
  async function sendHistory(signal: AbortSignal) {
    const now = clock.wall()
    for (let end = now - dayMs; end <= now; end += sliceMs) {
      for (const one of exporters) {
        if (!one.remembers) continue
        const pairs = pairsPerSlice * activityAt(end)
        const flows = conversations(one, end, pairs).map(flow => spread(random, flow))
        send(one, flows, clock.wall())
      }
      await sleep(15, undefined, { signal }).catch(() => {})
      if (signal.aborted) return
    }
  }

  function log(logger: (typeof loggers)[number], severity: number, text: string) {
    const now = new Date(clock.wall())
    const { kind, hostname } = logger.device
    const line =
      kind === 'ios'
        ? iosSyslog(severity, ++sequence, hostname, now, text)
        : linuxSyslog(3, severity, hostname, 'vtysh', 1200 + random.below(300), now, text)
    logger.send(Buffer.from(line), ports.syslog_udp, ports.host)
  }

  function logSomething() {
    const address = `10.0.10.${10 + random.below(90)}`
    for (const logger of loggers) {
      const [severity, text] = random.pick(chatter[logger.device.kind])
      log(logger, severity, text.replace('ADDRESS', address))
    }
  }

  function flapSomething() {
    const logger = loggers.find(({ device }) => device.kind === 'ios')
    if (!logger) return
    const ticks = Math.floor((clock.wall() - boot) / 10)
    const port = 1 + random.below(8)
    const name = `GigabitEthernet1/0/${port}`
    const up = random.next() < 0.5
    const state = up ? 'up' : 'down'
    log(
      logger,
      up ? 5 : 3,
      `%LINK-${up ? 5 : 3}-UPDOWN: Interface ${name}, changed state to ${state}`,
    )
    logger.send(linkTrap(up, port, name, ticks), ports.traps, ports.host)
    if (random.next() < 0.2) {
      logger.send(authenticationTrapV1(logger.device.address, ticks), ports.traps, ports.host)
    }
  }

  function changeSomething() {
    if (deps.devices.length === 0) return
    const device = random.pick(deps.devices)
    const user = random.pick(['alice', 'bob', 'carol'])
    const customer = `customer ${100 + random.below(900)}`
    device.configure(
      user,
      device.kind === 'ios'
        ? [`interface GigabitEthernet1/0/${1 + random.below(20)}`, `description ${customer}`]
        : [`ip route 10.${random.below(250)}.${random.below(250)}.0/24 198.51.100.9`],
    )
  }

  function sayConfigured(hostname: string, user: string, from: string) {
    const logger = loggers.find(({ device }) => device.hostname === hostname)
    if (!logger) return
    const text =
      logger.device.kind === 'ios'
        ? `%SYS-5-CONFIG_I: Configured from ${from} by ${user}`
        : `Configuration saved to /etc/frr/frr.conf by ${user}`
    log(logger, 5, text)
  }

  return {
    sayConfigured,
    async start() {
      stopping = new AbortController()
      await Promise.all([...exporters, ...loggers].map(one => one.open()))
      if (config.history) history = sendHistory(stopping.signal)
      timers.push(
        setInterval(tick, secondMs),
        setInterval(describeInterfaces, describeEveryMs),
        setInterval(logSomething, 4 * secondMs),
        setInterval(flapSomething, 45 * secondMs),
        setTimeout(changeSomething, firstChangeMs),
        setInterval(changeSomething, changeEveryMs),
      )
      flapSomething()
    },
    async stop() {
      for (const timer of timers.splice(0)) clearTimeout(timer)
      stopping.abort()
      await history
      for (const one of [...exporters, ...loggers]) one.close()
    },
  }
}

/** Sends from an address of its own, as a device would. */
function sender(address: string) {
  let socket: Socket | undefined
  return {
    open: () =>
      new Promise<void>((resolve, reject) => {
        socket = createSocket('udp4')
        socket.once('error', reject)
        socket.bind(0, address, () => {
          socket!.off('error', reject)
          // Nobody listens yet, or not any more: datagrams are lost, as in life.
          socket!.on('error', () => {})
          resolve()
        })
      }),
    send(datagram: Buffer, port: number, host: string) {
      socket?.send(datagram, port, host)
    },
    close() {
      socket?.close()
      socket = undefined
    },
  }
}

/** A flow of a slice stands for many: somewhere in the slice, and as large as they are together. */
function spread(random: Random, flow: SimulatedFlow): SimulatedFlow {
  const shift = random.below(sliceMs)
  const many = (pairsPerSecond * sliceMs) / secondMs / pairsPerSlice
  const bytes = Math.min(flow.bytes, largestOfMany) * many
  return {
    ...flow,
    start: flow.start - shift,
    end: flow.end - shift,
    bytes: Math.round(bytes),
    packets: Math.max(1, Math.round((flow.packets * bytes) / flow.bytes)),
  }
}

/** Everyday lines as [severity, text]. */
const chatter: Record<LoggingDevice['kind'], readonly (readonly [number, string])[]> = {
  ios: [
    [
      6,
      '%SEC_LOGIN-6-LOGIN_SUCCESS: Login Success [user: alice] [Source: ADDRESS] [localport: 22]',
    ],
    [5, '%OSPF-5-ADJCHG: Process 1, Nbr ADDRESS on Vlan99 from LOADING to FULL, Loading Done'],
    [4, '%SEC-6-IPACCESSLOGP: list 101 denied tcp ADDRESS(4431) -> 10.0.0.1(23), 1 packet'],
    [6, '%SYS-6-LOGGINGHOST_STARTSTOP: Logging to host ADDRESS port 514 started'],
    [3, '%PLATFORM-3-TEMPERATURE: Inlet sensor reads 41 Celsius, threshold 40'],
  ],
  frr: [
    [6, 'bgpd: %ADJCHANGE: neighbor ADDRESS in vrf default Up'],
    [6, 'zebra: interface eth1 vrf default index 3 changed UP'],
    [6, 'ospfd: AdjChg: Nbr ADDRESS on eth0: Loading -> Full'],
    [4, 'kernel: nf_conntrack: table 80% full'],
  ],
}

/** The last two lead to the data centre and outside. */
function interfaceOf(index: number, interfaces: number): SimulatedInterface {
  const uplink = index === interfaces ? 'Internet' : 'data centre'
  const description = index < interfaces - 1 ? `floor ${Math.ceil(index / 4)}` : uplink
  return { index, name: `Gi1/0/${index}`, description }
}
