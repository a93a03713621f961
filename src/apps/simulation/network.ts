/** The simulated network: exporters, devices that log and trap, and two that one can log in to. */
import { createSocket, type Socket } from 'node:dgram'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../lib/clock.ts'
import { type Component, createSequence } from '../../lib/component.ts'
import {
  bootBefore,
  createIpfix,
  createNetflow5,
  createNetflow9,
  createSflow,
  type FlowExport,
} from './flow-export.ts'
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

/** A device of the lab that one can log in to and whose configuration changes now and then. */
export interface LabDevice extends Component {
  readonly hostname: string
  readonly address: string
  /** What IOS-like and Linux hosts log when this user has changed something. */
  changedMessage(user: string, now: Date, sequence: number): string
  /** Changes something, as this user. */
  change(user: string): void
}

const secondMs = 1000
const dayMs = 86_400_000
/** Pairs of flows a second and exporter at full activity. */
const pairsPerSecond = 12
/** The past is sent in slices of five minutes, each with so many pairs of flows at full activity. */
const sliceMs = 300_000
const pairsPerSlice = 160
const firstChangeMs = 20_000
const changeEveryMs = 10 * 60_000

/**
 * @param config.history true: begins with the flows of the past day, so that there is a day to look at
 */
export function createSimulatedNetwork(
  deps: { clock: Clock; devices: readonly LabDevice[] },
  config: { ports: CollectorPorts; history: boolean; seed: number },
): Component {
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
  const loggers = deps.devices.map(device => sender(device.address))
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
    for (let end = now - dayMs; end < now - sliceMs; end += sliceMs) {
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

  function logSomething() {
    const now = new Date(clock.wall())
    for (const [index, device] of deps.devices.entries()) {
      const text = chatter(random, device.hostname, now, ++sequence)
      loggers[index]!.send(Buffer.from(text), ports.syslog_udp, ports.host)
    }
  }

  function flapSomething() {
    const now = clock.wall()
    const ticks = Math.floor((now - boot) / 10)
    const port = 1 + random.below(8)
    const name = `GigabitEthernet0/${port}`
    const [logger] = loggers
    const [device] = deps.devices
    if (!logger || !device) return
    const up = random.next() < 0.5
    const text = `%LINK-${up ? 5 : 3}-UPDOWN: Interface ${name}, changed state to ${up ? 'up' : 'down'}`
    const line = iosSyslog(up ? 5 : 3, ++sequence, device.hostname, new Date(now), text)
    logger.send(Buffer.from(line), ports.syslog_udp, ports.host)
    logger.send(linkTrap(up, port, name, ticks), ports.traps, ports.host)
    if (random.next() < 0.2) {
      logger.send(authenticationTrapV1(device.address, ticks), ports.traps, ports.host)
    }
  }

  function changeSomething() {
    const index = random.below(deps.devices.length)
    const device = deps.devices[index]
    if (!device) return
    const user = random.pick(['alice', 'bob', 'carol'])
    device.change(user)
    const text = device.changedMessage(user, new Date(clock.wall()), ++sequence)
    loggers[index]!.send(Buffer.from(text), ports.syslog_udp, ports.host)
  }

  const senders: Component = {
    async start() {
      stopping = new AbortController()
      await Promise.all([...exporters, ...loggers].map(one => one.open()))
      if (config.history) history = sendHistory(stopping.signal)
      timers.push(
        setInterval(tick, secondMs),
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
  return createSequence([...deps.devices, senders])
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

/** A flow of a slice stands for many: somewhere in the slice, and larger. */
function spread(random: Random, flow: SimulatedFlow): SimulatedFlow {
  const shift = random.below(sliceMs)
  const factor = Math.round((pairsPerSecond * sliceMs) / secondMs / pairsPerSlice)
  return {
    ...flow,
    start: flow.start - shift,
    end: flow.end - shift,
    bytes: Math.min(4e9, flow.bytes * factor),
    packets: flow.packets * factor,
  }
}

function chatter(random: Random, hostname: string, now: Date, sequence: number): string {
  const address = `10.0.10.${10 + random.below(90)}`
  if (hostname.startsWith('rtr')) {
    const [severity, text] = random.pick([
      [
        6,
        `%SEC_LOGIN-6-LOGIN_SUCCESS: Login Success [user: alice] [Source: ${address}] [localport: 22]`,
      ],
      [
        5,
        '%OSPF-5-ADJCHG: Process 1, Nbr 10.0.0.2 on GigabitEthernet0/1 from LOADING to FULL, Loading Done',
      ],
      [4, `%SEC-6-IPACCESSLOGP: list 101 denied tcp ${address}(4431) -> 10.0.0.1(23), 1 packet`],
      [6, '%SYS-6-LOGGINGHOST_STARTSTOP: Logging to host 10.0.10.53 port 514 started'],
      [3, '%PLATFORM-3-TEMPERATURE: Inlet sensor reads 41 Celsius, threshold 40'],
    ] as const)
    return iosSyslog(severity, sequence, hostname, now, text)
  }
  const [facility, severity, app, text] = random.pick([
    [10, 6, 'sshd', `Accepted publickey for ops from ${address} port 51022 ssh2`],
    [3, 6, 'bgpd', `%ADJCHANGE: neighbor ${address} in vrf default Up`],
    [9, 6, 'cron', '(root) CMD (/usr/lib/backup/nightly)'],
    [0, 4, 'kernel', 'nf_conntrack: table 80% full'],
    [3, 5, 'zebra', 'interface eth1 vrf default index 3 changed UP'],
  ] as const)
  return linuxSyslog(facility, severity, hostname, app, 1200 + random.below(300), now, text)
}
