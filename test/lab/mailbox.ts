/** A real mail server on a host of the lab, and what it has taken. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Taken } from '../notify/smtp-server.ts'
import type { Host } from './network.ts'

const program = join(import.meta.dirname, '../notify/smtp-server.py')
export const smtpPort = 25
const startDeadlineMs = 20_000

export interface Mailbox {
  readonly taken: readonly Taken[]
  start(): Promise<void>
  stop(): Promise<void>
  /** Sentences about mails that came twice to the same recipient. */
  violations(): string[]
}

export function createMailbox(host: Host): Mailbox {
  const taken: Taken[] = []
  let child: ChildProcess | undefined
  return {
    taken,
    async start() {
      const started = host.spawn(
        '/usr/bin/python3',
        ['-I', program, JSON.stringify({ port: smtpPort, host: '0.0.0.0' })],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      )
      child = started
      const lines = createInterface(started.stdout!)
      const listening = once(lines, 'line', { signal: AbortSignal.timeout(startDeadlineMs) })
      lines.on('line', line => {
        const news = JSON.parse(line) as { took?: Taken }
        if (news.took) taken.push(news.took)
      })
      await listening
    },
    async stop() {
      const running = child
      child = undefined
      if (!running || running.exitCode !== null || running.signalCode !== null) return
      const ended = once(running, 'exit')
      running.kill('SIGKILL')
      await ended
    },
    violations() {
      const times = new Map<string, number>()
      for (const { id, to } of taken) {
        for (const recipient of to) {
          const key = `${id} to ${recipient}`
          times.set(key, (times.get(key) ?? 0) + 1)
        }
      }
      return [...times]
        .filter(([, count]) => count > 1)
        .map(([key, count]) => `mail ${key} came ${count} times`)
    },
  }
}
