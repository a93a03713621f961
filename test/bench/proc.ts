/** What Linux says of processes, sockets and the machine: proc(5). */
import { readdirSync, readFileSync } from 'node:fs'

/** USER_HZ, which Linux has fixed at 100 for all architectures of ours. */
const ticksPerSecond = 100

/** CPU seconds of a process, its threads, and its children, living or not. @throws if it has ended */
export function cpuSecondsOf(pid: number): number {
  let sum = 0
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    for (const child of childrenOf(pid)) sum += cpuSecondsOf(child)
  } catch (cause) {
    throw new Error(`process ${pid} ended while it was measured`, { cause })
  }
  // The name in parentheses may hold anything; behind it, utime is the 12th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields.slice(11, 15).reduce((own, ticks) => own + Number(ticks) / ticksPerSecond, sum)
}

function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap(task =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'latin1')
      .split(' ')
      .filter(child => child !== '')
      .map(Number),
  )
}

export interface UdpSocketState {
  /** Bytes that wait in the receive queue, with the kernel's bookkeeping. */
  waiting: number
  /** Datagrams dropped since the socket was opened, because the queue was full. */
  drops: number
}

/** The unconnected UDP socket of a port, undefined if nobody listens there. */
export function udpSocketAt(port: number): UdpSocketState | undefined {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  for (const table of ['/proc/net/udp', '/proc/net/udp6']) {
    for (const line of readFileSync(table, 'latin1').split('\n').slice(1)) {
      const [, local, remote, , queues, ...rest] = line.trim().split(/\s+/)
      if (!local?.endsWith(suffix) || !remote?.endsWith(':0000')) continue
      return { waiting: Number.parseInt(queues!.split(':')[1]!, 16), drops: Number(rest.at(-1)) }
    }
  }
  return undefined
}

/** CPU seconds that the whole machine has worked, or was kept from it by its host. */
export function busySecondsOfMachine(): number {
  const [first] = readFileSync('/proc/stat', 'latin1').split('\n')
  const [user, nice, system, , , irq, softirq, steal] = first!.split(/\s+/).slice(1).map(Number)
  return (user! + nice! + system! + irq! + softirq! + steal!) / ticksPerSecond
}
