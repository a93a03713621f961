/** `keepwatch collector` as its own process, started from a settings file as at a site. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { stringify } from 'yaml'
import type { z } from 'zod'
import type { collectorState } from '../../src/api/contract/watch.ts'
import type { ListenerName } from '../../src/collect/listen.ts'
import { freePort } from '../../src/lib/ports.ts'

const main = join(import.meta.dirname, '../../src/main.ts')
const startDeadlineMs = 30_000
const stopDeadlineMs = 20_000

export type CollectorState = z.output<typeof collectorState>

export interface CollectorProgram {
  readonly pid: number
  readonly ports: Record<ListenerName, number>
  readonly spool: string
  /** What it says of itself at `/healthz`. */
  state(): Promise<CollectorState>
  /** The text of `/metrics`. */
  metrics(): Promise<string>
  /** Every line that it has logged so far. */
  logLines(): string[]
  alive(): boolean
  stop(): Promise<void>
}

/**
 * @param options.dir where its settings, its spool and its log are kept
 * @param options.identity folder with `<name>.key`, `<name>.crt` and `ca.crt`
 */
export async function startCollector(options: {
  dir: string
  name: string
  identity: string
  servers: { name: string; url: string }[]
  listen?: Record<string, unknown>
}): Promise<CollectorProgram> {
  const { dir, name, identity, servers } = options
  const file = join(dir, `${name}.yaml`)
  const logFile = join(dir, `${name}.log`)
  const observe = { host: '127.0.0.1', port: await freePort() }
  const listen = {
    netflow: 0,
    ipfix: 0,
    sflow: 0,
    syslog_udp: 0,
    syslog_tcp: 0,
    traps: 0,
    ipfix_tcp: 0,
  }
  const settings = {
    name,
    spool: `${name}-spool`,
    identity,
    servers,
    observe,
    listen: { ...listen, ...options.listen },
  }
  writeFileSync(file, stringify(settings))
  const child = spawn(process.execPath, [main, 'collector', '--settings', file], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  child.stderr!.on('data', data => appendFileSync(logFile, data))
  const log = () => (existsSync(logFile) ? readFileSync(logFile, 'utf8') : '')
  const ready = await said(child, log)

  async function get(path: string): Promise<string> {
    const response = await fetch(`http://${observe.host}:${observe.port}${path}`, {
      signal: AbortSignal.timeout(5000),
    })
    return response.text()
  }

  return {
    pid: child.pid!,
    ports: ready.ports,
    spool: join(dir, settings.spool),
    state: async () => JSON.parse(await get('/healthz')).state,
    metrics: () => get('/metrics'),
    logLines: () => log().split('\n').slice(0, -1),
    alive: () => child.exitCode === null && child.signalCode === null,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      const killer = setTimeout(() => child.kill('SIGKILL'), stopDeadlineMs)
      await once(child, 'exit')
      clearTimeout(killer)
      if (child.signalCode === 'SIGKILL') throw new Error(`the collector did not stop\n${log()}`)
    },
  }
}

async function said(
  child: ChildProcess,
  log: () => string,
): Promise<{ ports: Record<ListenerName, number> }> {
  const answer = await Promise.race([
    once(child, 'message', { signal: AbortSignal.timeout(startDeadlineMs) }),
    once(child, 'exit').then(() => undefined),
  ]).catch(() => undefined)
  if (answer !== undefined) return answer[0].ready
  child.kill('SIGKILL')
  throw new Error(`the collector did not start\n${log()}`)
}

/** Waits until `check` holds; says what was waited for, and what was seen last. */
export async function until<T>(
  what: string,
  look: () => Promise<T>,
  check: (seen: T) => boolean,
  ms = 30_000,
): Promise<T> {
  const deadline = performance.now() + ms
  for (;;) {
    const seen = await look()
    if (check(seen)) return seen
    if (performance.now() > deadline) {
      throw new Error(`${what}: not within ${ms} ms, but ${JSON.stringify(seen)}`)
    }
    await sleep(100)
  }
}
