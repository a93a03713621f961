/** What the tests of this folder share: processes that are started, asked, killed and started again. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CollectorState } from '../../src/collect/link.ts'
import { openAuthority, writeIdentity } from '../../src/lib/tls.ts'
import { decodeNative } from '../../src/telemetry/native.ts'
import { tables } from '../../src/telemetry/tables.ts'
import { readStore, type StoredSegment } from './folder-store.ts'

export interface Program {
  readonly pid: number
  /** The next JSON line of its standard output. */
  answer(): Promise<Record<string, unknown>>
  ask(line: string): Promise<Record<string, unknown>>
  kill(signal: NodeJS.Signals): Promise<void>
}

export interface Ports {
  netflow: number
  ipfix: number
  sflow: number
  syslog_udp: number
  syslog_tcp: number
  traps: number
}

export interface Lab {
  dir: string
  logs: string
  start(script: string, ...args: string[]): Program
  /** Starts a receiver and gives its port. */
  receiver(name: string, port?: number): Promise<{ program: Program; port: number }>
  collector(
    settings: Record<string, unknown>,
    identity?: string,
  ): Promise<{ program: Program; ports: Ports; state(): Promise<CollectorState> }>
  stored(name: string): StoredSegment[]
  /** Kills what still runs and removes everything. */
  close(): Promise<void>
}

export async function createLab(): Promise<Lab> {
  const dir = mkdtempSync(join(tmpdir(), 'keepwatch-collect-'))
  const logs = join(dir, 'log')
  const identities = join(dir, 'identities')
  const authority = await openAuthority(join(dir, 'authority'))
  writeIdentity(
    identities,
    'collector',
    await authority.issue({ role: 'collector', name: 'c', hosts: [] }),
  )
  writeIdentity(
    identities,
    'server',
    await authority.issue({ role: 'server', name: 's', hosts: ['127.0.0.1'] }),
  )
  const programs = new Set<Program>()

  const lab: Lab = {
    dir,
    logs,
    start(script, ...args) {
      const child = spawn(process.execPath, [join(import.meta.dirname, script), ...args], {
        stdio: ['pipe', 'pipe', 'pipe'],
      })
      child.stderr.on('data', data => appendFileSync(logs, data))
      const program = programOf(child, createInterface(child.stdout), () => readLog(logs))
      programs.add(program)
      child.once('exit', () => programs.delete(program))
      return program
    },
    async receiver(name, port = 0) {
      const program = lab.start('receiver-process.ts', storeFile(name), String(port), identities)
      const answer = await program.answer()
      return { program, port: answer.port as number }
    },
    async collector(settings, identity = identities) {
      const program = lab.start('collector-process.ts', JSON.stringify(settings), identity)
      const answer = await program.answer()
      return {
        program,
        ports: answer.ports as Ports,
        state: async () => (await program.ask('state')).state as CollectorState,
      }
    },
    stored: name => readStore(storeFile(name)),
    async close() {
      await Promise.all([...programs].map(program => program.kill('SIGKILL')))
      rmSync(dir, { recursive: true, force: true })
    },
  }
  const storeFile = (name: string) => join(dir, `store-${name}`)
  return lab
}

function readLog(file: string): string {
  try {
    return readFileSync(file, 'utf8').slice(-4000)
  } catch {
    return ''
  }
}

function programOf(child: ChildProcess, lines: Interface, log: () => string): Program {
  const answers: Record<string, unknown>[] = []
  const waiting: ((answer: Record<string, unknown>) => void)[] = []
  lines.on('line', line => {
    const answer = JSON.parse(line)
    const next = waiting.shift()
    if (next) next(answer)
    else answers.push(answer)
  })
  const exited = new Promise<void>(resolve => child.once('exit', () => resolve()))
  const program: Program = {
    pid: child.pid!,
    answer() {
      const ready = answers.shift()
      if (ready !== undefined) return Promise.resolve(ready)
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no answer in 20 s\n${log()}`)), 20_000)
        void exited.then(() => {
          clearTimeout(timer)
          reject(new Error(`the process ended\n${log()}`))
        })
        waiting.push(answer => {
          clearTimeout(timer)
          resolve(answer)
        })
      })
    },
    ask(line) {
      child.stdin!.write(`${line}\n`)
      return program.answer()
    },
    async kill(signal) {
      child.kill(signal)
      await exited
    },
  }
  return program
}

/** Settings of a collector on ports of its own. */
export function settingsOf(
  spool: string,
  servers: Record<string, number>,
  more: { listen?: object; quotaBytes?: number; memoryBytes?: number } = {},
) {
  const anyPort = {
    netflow: 0,
    ipfix: 0,
    sflow: 0,
    syslog_udp: 0,
    syslog_tcp: 0,
    traps: 0,
    ipfix_tcp: 0,
  }
  return {
    name: 'lab',
    spool,
    servers: Object.entries(servers).map(([name, port]) => ({
      name,
      url: `https://127.0.0.1:${port}`,
    })),
    ...more,
    listen: { ...anyPort, ...more.listen },
  }
}

/** Sends datagrams from one socket; resolves when the kernel has them. */
export function createSender() {
  const socket = createSocket('udp4')
  socket.on('error', () => {})
  return {
    send(bytes: string | Uint8Array, port: number) {
      return new Promise<void>(resolve => socket.send(bytes, port, '127.0.0.1', () => resolve()))
    },
    close: () => new Promise<void>(resolve => socket.close(() => resolve())),
  }
}

export const numbered = (number: number) => `<189>Jan  1 00:00:00 lab test: number=${number};`

/** The numbers in stored syslog messages, in the order of their segments. */
export function numbersIn(segments: StoredSegment[]): number[] {
  const numbers: number[] = []
  for (const { kind, native } of segments) {
    if (kind !== 'syslog') continue
    const raw = decodeNative(native, tables.syslog)
    const column = raw.column('raw')!
    for (let row = 0; row < raw.rows; row++) {
      const match = /number=(\d+);/.exec(column.get(row) as string)
      if (match) numbers.push(Number(match[1]))
    }
  }
  return numbers
}

/** Waits until `check` is true; the deadline says what was waited for. */
export async function until(what: string, check: () => boolean | Promise<boolean>, ms = 30_000) {
  const deadline = performance.now() + ms
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${ms} ms`)
    await sleep(50)
  }
}

/** Files of segments in a spool's folder. */
export function segmentFiles(spool: string, kind: string): string[] {
  return readdirSync(join(spool, kind)).filter(name => name.endsWith('.seg'))
}
