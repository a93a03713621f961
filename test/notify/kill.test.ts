import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { identityOf } from '../../src/notify/channel.ts'
import { setUpMs } from '../contract/databases.ts'
import { type Databases, openPost, startDatabases, until } from './lab.ts'
import type { SenderSaid, SenderSettings } from './sender-process.ts'
import { startSmtpProxy } from './smtp-proxy.ts'
import { hasSmtpServer, startSmtpServer } from './smtp-server.ts'

const program = fileURLToPath(new URL('./sender-process.ts', import.meta.url))
const rounds = Number(process.env.KEEPWATCH_NOTIFY_ROUNDS ?? 24)
/** So slow a server has its answer on the way often enough to be hit. */
const answerMs = 15

interface Sender {
  child: ChildProcess
  doubted: string[]
  half: number
  ready: Promise<void>
  end(): Promise<void>
}

function startSender(settings: SenderSettings): Sender {
  const child = spawn(process.execPath, [program, JSON.stringify(settings)], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const ready = Promise.withResolvers<void>()
  ready.promise.catch(() => {})
  const sender: Sender = {
    child,
    doubted: [],
    half: 0,
    ready: ready.promise,
    async end() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    },
  }
  createInterface(child.stdout!).on('line', line => {
    const said = JSON.parse(line) as SenderSaid
    if ('ready' in said) ready.resolve()
    else {
      sender.doubted.push(...said.doubted)
      sender.half += said.half
    }
  })
  child.once('exit', code => ready.reject(new Error(`a sender ended with ${code}`)))
  return sender
}

describe.skipIf(!hasSmtpServer)(
  'senders that are killed and frozen, with a real mail server',
  () => {
    let databases: Databases
    beforeAll(async () => {
      databases = await startDatabases()
    }, setUpMs)
    afterAll(() => databases?.stop(), setUpMs)

    test('tell every event, and twice only what was in doubt', { timeout: 900_000 }, async () => {
      const post = await openPost(databases)
      const server = await startSmtpServer()
      const proxy = await startSmtpProxy(server)
      proxy.delayMs = answerMs
      const senders: Sender[] = []
      const frozen: Sender[] = []
      try {
        await post.admin.query('CREATE TABLE events (n bigint GENERATED ALWAYS AS IDENTITY)')
        const start = async (term: number, events: number) => {
          const sender = startSender({ url: post.url, term, smtpPort: proxy.port, events })
          senders.push(sender)
          await sender.ready
          return sender
        }
        let term = 1
        for (let round = 0; round < rounds; round++) {
          const sender = await start(++term, Number.MAX_SAFE_INTEGER)
          await sleep(Math.random() * 600)
          if (round % 4 === 3) {
            sender.child.kill('SIGSTOP')
            frozen.push(sender)
          } else await sender.end()
          // Those frozen before wake in the middle of another's work.
          if (frozen.length > 1) {
            const waking = frozen.shift()!
            waking.child.kill('SIGCONT')
            await sleep(300)
            await waking.end()
          }
        }
        const { rows } = await post.admin.query('SELECT max(n)::int AS n FROM events')
        await start(++term, rows[0].n + 20)
        for (const sender of frozen) sender.child.kill('SIGCONT')
        // Numbers of transactions that were cut off are missing, so the last one tells.
        const progress = async () => {
          const found = await post.admin.query(
            `SELECT (SELECT max(n) FROM events)::int AS last, count(*)::int AS unsent
             FROM outbox WHERE state <> 'sent'`,
          )
          return found.rows[0] as { last: number; unsent: number }
        }
        const target = rows[0].n + 20
        proxy.delayMs = 0
        await until(progress, ({ last, unsent }) => last >= target && unsent === 0, 120_000)

        const notices = await post.admin.query('SELECT key, created FROM outbox')
        const idOf = new Map(
          notices.rows.map(row => [row.key as string, `<${identityOf(row)}@example.test>`]),
        )
        const times = new Map<string, number>()
        for (const { id } of server.taken) times.set(id, (times.get(id) ?? 0) + 1)
        const doubted = new Set(senders.flatMap(sender => sender.doubted).map(key => idOf.get(key)))
        const doubled = [...times].filter(([, count]) => count > 1)
        const half = senders.reduce((sum, sender) => sum + sender.half, 0)
        process.stdout.write(
          `notices: ${idOf.size} events in ${term - 1} terms, ${rounds} kills and freezes: ` +
            `${idOf.size - times.size} lost, ${doubled.length} doubled; ` +
            `${half} were found half sent, ${doubted.size} in doubt\n`,
        )
        const { rows: made } = await post.admin.query('SELECT count(*)::int AS count FROM events')
        expect(idOf.size).toBe(made[0].count)
        expect([...idOf.values()].filter(id => !times.has(id))).toEqual([])
        expect(doubled.filter(([id]) => !doubted.has(id))).toEqual([])
      } finally {
        await Promise.all(senders.map(sender => sender.end()))
        await proxy.stop()
        await server.kill()
        await post.stop()
      }
    })
  },
)
