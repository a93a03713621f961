/** One receiver and one sender, from start to stop, and the runs between. */
import { rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { exporters, type Format, recordsPerDatagram } from './datagrams.ts'
import { busySecondsOfMachine, cpuSecondsOf, udpSocketAt } from './proc.ts'
import { type Receiver, type ReceiverName, type Stored, startReceiver } from './receivers.ts'
import type { SenderReport, SenderRun } from './sender-process.ts'
import { messageFrom, type Workshop } from './workshop.ts'

export interface Run {
  /** Flows a second that were really sent. */
  offered: number
  /** The sender could not send what it was asked for. */
  senderLimited: boolean
  /** Datagrams that the kernel dropped at the receiver's socket. */
  drops: number
  /** The receiver had not caught up with its queues a second after the last datagram. */
  behind: boolean
  /** Of the receiver, per million flows that reached it. */
  cpuPerMillion: number
  /** Part of the machine that neither of the two used but somebody else. */
  others: number
}

export interface Session {
  /** Offers flows and waits until the receiver rests. */
  run(flowsPerSecond: number, seconds: number): Promise<Run>
  /** The same, until the last batch is written too, so that all the work for the flows is counted. */
  runWhole(flowsPerSecond: number, seconds: number): Promise<Run>
  /** Stops both. `lost` says in words what does not agree with a loss of nothing. */
  close(): Promise<{ stored: Stored; sent: number; drops: number; lost: string[] }>
}

const startDeadlineMs = 20_000
/** A receiver may keep what is not a full batch for a second before it is written. */
const batchMs = 1100
/** What it works on beyond that, and beyond `most`, is a backlog. */
const settleMs = { most: 1000, step: 50, quiet: 200 }
/** Beyond it, another rate was offered than was asked for. */
const senderTolerance = 0.97

export async function openSession(
  workshop: Workshop,
  name: ReceiverName,
  format: Format,
): Promise<Session> {
  const dir = join(workshop.dir, `${name}-${format}`)
  const receiver = await startReceiver(name, workshop, dir)
  const sender = workshop.start(
    process.execPath,
    [join(import.meta.dirname, 'sender-process.ts'), format, String(receiver.port)],
    { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] },
  )
  workshop.preferMost(sender)
  await messageFrom(sender, startDeadlineMs)
  const records = recordsPerDatagram[format]
  let sent = 0

  async function send(run: SenderRun): Promise<SenderReport> {
    const report = messageFrom<SenderReport>(sender, 1000 * run.seconds + startDeadlineMs)
    sender.send(run)
    const { datagrams } = await report
    sent += datagrams
    return report
  }

  async function run(flowsPerSecond: number, seconds: number, least: number): Promise<Run> {
    const dropsBefore = dropsAt(receiver)
    const busyBefore = busySecondsOfMachine()
    const cpuBefore = cpuSecondsOf(receiver.pid)
    const began = performance.now()
    const report = await send({ datagramsPerSecond: flowsPerSecond / records, seconds })
    const behind = !(await settle(receiver, least))
    const lasted = (performance.now() - began) / 1000
    const cpu = cpuSecondsOf(receiver.pid) - cpuBefore
    const busy = busySecondsOfMachine() - busyBefore
    const drops = dropsAt(receiver) - dropsBefore
    const offered = (report.datagrams * records) / report.seconds
    return {
      offered,
      senderLimited: offered < senderTolerance * flowsPerSecond,
      drops,
      behind,
      cpuPerMillion: (1e6 * cpu) / Math.max(1, (report.datagrams - drops) * records),
      others: Math.max(0, busy - cpu - report.cpuSeconds) / (lasted * availableParallelism()),
    }
  }

  return {
    run: (flowsPerSecond, seconds) => run(flowsPerSecond, seconds, 0),
    runWhole: (flowsPerSecond, seconds) => run(flowsPerSecond, seconds, batchMs),

    async close() {
      // Behind the last gap there must be a datagram that shows it.
      await send({ datagramsPerSecond: 50 * exporters, seconds: 0.2 })
      await settle(receiver, 0)
      const drops = dropsAt(receiver)
      sender.disconnect()
      const stored = await receiver.stop()
      rmSync(dir, { recursive: true })
      const lost = [...stored.problems]
      if (drops > 0) lost.push(`the kernel dropped ${drops} datagrams`)
      if (stored.sequenceGaps > 0) lost.push(`sequence gaps: ${stored.sequenceGaps}`)
      const missing = sent * records - stored.flows
      if (missing !== 0) lost.push(`${missing} of ${sent * records} flows are not on disk`)
      return { stored, sent: sent * records, drops: drops * records, lost }
    },
  }
}

function dropsAt({ port }: Receiver): number {
  const socket = udpSocketAt(port)
  if (socket === undefined) throw new Error('the receiver has closed its socket')
  return socket.drops
}

/** At least so long, and until the receiver's queue is empty and it rests; false if it does not. */
async function settle({ pid, port }: Receiver, least: number): Promise<boolean> {
  const began = performance.now()
  let quietSince = began
  let cpu = cpuSecondsOf(pid)
  for (;;) {
    await sleep(settleMs.step)
    const now = performance.now()
    const cpuNow = cpuSecondsOf(pid)
    // A tick more in a step is a timer that fires, not work.
    if (cpuNow - cpu > 0.011 || udpSocketAt(port)?.waiting !== 0) quietSince = now
    cpu = cpuNow
    if (now - began >= least && now - quietSince >= settleMs.quiet) return true
    if (now - began >= least + settleMs.most) return false
  }
}
