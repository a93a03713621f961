/** The devices of the lab: whatever they send carries a number, from 1 without gaps. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Host } from './network.ts'

const program = join(import.meta.dirname, 'device-process.ts')
const answerDeadlineMs = 20_000

export const forms = ['netflow5', 'netflow9', 'ipfix', 'syslog', 'traps'] as const
export type Form = (typeof forms)[number]

/** One device, which sends one form of telemetry from an address of its own. */
export interface Stream {
  name: string
  form: Form
  /** Of the device. */
  from: string
  to: readonly string[]
  port: number
  /** Datagrams; one of flows has `perDatagram` numbers in it, the others one. */
  perSecond: number
}

export const ports: Record<Form, number> = {
  netflow5: 2055,
  netflow9: 2055,
  ipfix: 4739,
  syslog: 514,
  traps: 162,
}

/** Where the numbers of a form are found in an engine. */
export const stored: Record<Form, { table: string; by: string; number: string }> = {
  netflow5: { table: 'flow', by: 'exporter', number: 'toUInt64(packets)' },
  netflow9: { table: 'flow', by: 'exporter', number: 'toUInt64(packets)' },
  ipfix: { table: 'flow', by: 'exporter', number: 'toUInt64(packets)' },
  syslog: {
    table: 'syslog',
    by: 'sender',
    number: `toUInt64OrZero(extract(raw, 'number=(\\\\d+);'))`,
  },
  traps: { table: 'trap', by: 'sender', number: 'toUInt64(request)' },
}

export interface Devices {
  readonly streams: readonly Stream[]
  start(): Promise<void>
  /** Begins to send, or goes on. */
  send(): void
  /** Stops sending. @returns the last number of each stream */
  pause(): Promise<Record<string, number>>
  /** The last number of each stream so far. */
  sent(): Promise<Record<string, number>>
  stop(): Promise<void>
}

export function createDevices(host: Host, streams: readonly Stream[]): Devices {
  let child: ChildProcess | undefined

  async function ask(command: string): Promise<Record<string, number>> {
    const running = child
    if (!running) throw new Error('the devices are not started')
    const answer = once(running, 'message', { signal: AbortSignal.timeout(answerDeadlineMs) })
    running.send(command)
    return (await answer)[0]
  }

  return {
    streams,
    async start() {
      for (const { from } of streams) {
        const prefix = from.includes(':') ? 64 : 24
        const nodad = from.includes(':') ? ['nodad'] : []
        await host.run('ip', 'address', 'replace', `${from}/${prefix}`, 'dev', 'eth0', ...nodad)
      }
      child = host.spawn(
        process.execPath,
        ['--disable-warning=ExperimentalWarning', program, JSON.stringify(streams)],
        { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
      )
      await once(child, 'message', { signal: AbortSignal.timeout(answerDeadlineMs) })
    },
    send: () => void child?.send('send'),
    pause: () => ask('pause'),
    sent: () => ask('sent'),
    async stop() {
      const running = child
      if (!running) return
      child = undefined
      const ended = once(running, 'exit')
      running.kill('SIGKILL')
      await ended
    },
  }
}
