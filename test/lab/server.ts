/** A server of the pair on a host of its own, and everything that can happen to it. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { stringify } from 'yaml'
import type { Answer, Client } from './client.ts'
import type { Host, Way } from './network.ts'
import { createProgram, type Program } from './program.ts'

const main = join(import.meta.dirname, '../../src/main.ts')
const hang = join(import.meta.dirname, 'hang.mjs')
const readyToTakeMs = 20_000
const faketime = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1'

/** What `/active` answers. */
export interface Active {
  server: string
  role: 'active' | 'standby' | 'stopped'
  term: number
  active: string | null
  sentence: string
}

export interface LabServer {
  readonly name: string
  readonly host: Host
  readonly program: Program
  readonly dataDir: string
  /** Undefined if it does not answer. */
  role(deadlineMs?: number): Promise<Active | undefined>
  /** Calls the API. @throws unless it answers 200 */
  call<T>(method: string, path: string, body?: object): Promise<T>
  ask: Client['ask']
  /** Asks the active to hand over, as soon as the other can take it. */
  switchover(): Promise<void>
  /** `kill -9`; a second later it is started again, unless told otherwise. */
  kill(): void
  /** `kill -9`, and it stays so until `start`. */
  off(): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
  /** The server's process stops in its tracks; what else runs on the host goes on. */
  freeze(): void
  thaw(): void
  /** The whole host stops, as a virtual machine that is paused: its programs and its network. */
  pause(): Promise<void>
  resume(): Promise<void>
  /** The host loses its power: the cable is dead and nothing runs any more. */
  powerOff(): Promise<void>
  powerOn(): Promise<void>
  /** The main loop does nothing for so long; its threads go on. */
  hang(ms: number): void
  cut(): Promise<void>
  cutFrom(other: { host: Host }, way?: Way): Promise<void>
  reject(other: { host: Host }): Promise<void>
  lose(percent: number): Promise<void>
  delay(ms: number): Promise<void>
  /** Everything about the network as it was. */
  heal(): Promise<void>
  /** The wall clock of the server jumps to so many seconds from the true time. */
  setClock(offsetSeconds: number): void
  /** Leaves so many bytes on the server's disk. */
  fillDisk(leave: number): Promise<void>
  freeDisk(): void
}

export function createLabServer(
  host: Host,
  client: Client,
  options: {
    folder: string
    settings: Record<string, unknown>
    fakeClock: boolean
    restartMs?: number | undefined
    /** Run before the program in its own mount namespace. */
    mounts?: string | undefined
  },
): LabServer {
  const { folder } = options
  const file = join(folder, `${host.name}.yaml`)
  const dataDir = join(folder, host.name)
  const hangFile = join(folder, `${host.name}.hang`)
  const clockFile = join(folder, `${host.name}.clock`)
  const ballast = join(dataDir, 'ballast')
  mkdirSync(dataDir, { recursive: true })
  writeFileSync(file, stringify({ ...options.settings, dataDir }), { mode: 0o600 })
  writeFileSync(clockFile, '+0\n')
  const clockEnvironment = {
    LD_PRELOAD: faketime,
    FAKETIME_TIMESTAMP_FILE: clockFile,
    FAKETIME_CACHE_DURATION: '1',
    // The monotonic clock of a machine is never set.
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  }
  const program = createProgram(host, {
    name: host.name,
    logFile: join(folder, `${host.name}.log`),
    ...('restartMs' in options ? { restartMs: options.restartMs } : {}),
    command() {
      const node = [
        process.execPath,
        ...['--disable-warning=ExperimentalWarning', '--import', hang],
        ...[main, 'server', '--settings', file],
      ]
      const [first, ...rest] = options.mounts
        ? ['sh', '-ec', `${options.mounts}\nexec "$@"`, 'sh', ...node]
        : node
      return {
        file: first!,
        args: rest,
        env: { KEEPWATCH_LAB_HANG: hangFile, ...(options.fakeClock ? clockEnvironment : {}) },
      }
    },
  })

  return {
    name: host.name,
    host,
    program,
    dataDir,
    ask: client.ask,
    async role(deadlineMs = 1000) {
      const answer = await client.ask('/active', { deadlineMs }).catch(() => undefined)
      const body = answer?.body as Partial<Active> | undefined
      return body?.role === undefined ? undefined : (body as Active)
    },
    async call<T>(method: string, path: string, body?: object): Promise<T> {
      const answer: Answer = await client.ask(`/api/v1${path}`, {
        method,
        ...(body ? { body } : {}),
        deadlineMs: 20_000,
      })
      if (answer.status !== 200) {
        throw new Error(
          `${method} ${path} at ${host.name}: ${answer.status} ${JSON.stringify(answer.body)}`,
        )
      }
      return answer.body as T
    },
    async switchover() {
      const deadline = performance.now() + readyToTakeMs
      for (;;) {
        const answer = await client.ask('/api/v1/pair/switchover', { method: 'POST' })
        if (answer.status === 200) return
        const said = JSON.stringify(answer.body)
        // The other one stands by, but may not be ready to take over yet.
        if (answer.status !== 409 || performance.now() > deadline) {
          throw new Error(`switchover at ${host.name}: ${answer.status} ${said}`)
        }
        await sleep(50)
      }
    },
    kill: program.kill,
    off: program.off,
    start: program.start,
    stop: program.stop,
    freeze: program.freeze,
    thaw: program.thaw,
    async pause() {
      await host.cut()
      await host.signalAll('SIGSTOP')
    },
    async resume() {
      await host.heal()
      await host.signalAll('SIGCONT')
    },
    async powerOff() {
      await host.cut()
      const off = program.off()
      await host.signalAll('SIGKILL')
      await off
    },
    async powerOn() {
      await forgetAddresses(host)
      await host.heal()
      await program.start()
    },
    hang(ms) {
      writeFileSync(hangFile, String(ms))
      if (program.pid !== undefined) process.kill(program.pid, 'SIGUSR2')
    },
    cut: host.cut,
    cutFrom: (other, way) => host.cutFrom(other.host, way),
    reject: other => host.reject(other.host),
    lose: host.lose,
    delay: host.delay,
    heal: host.heal,
    setClock(offsetSeconds) {
      if (!options.fakeClock) throw new Error(`open the lab with clocks: [${host.name}]`)
      writeFileSync(clockFile, `${offsetSeconds < 0 ? '' : '+'}${offsetSeconds}\n`)
    },
    async fillDisk(leave) {
      const { bavail, bsize } = await statfs(dataDir)
      const chunk = Buffer.alloc(1024 * 1024, 1)
      let left = bavail * bsize - leave
      const parts: Buffer[] = []
      for (; left > 0; left -= chunk.length)
        parts.push(chunk.subarray(0, Math.min(left, chunk.length)))
      await writeFile(ballast, parts).catch(error => {
        // The server writes too: it is full all the same.
        if (error.code !== 'ENOSPC') throw error
      })
    },
    freeDisk: () => rmSync(ballast, { force: true }),
  }
}

/** A machine that was switched on again has only the addresses of its settings. */
async function forgetAddresses(host: Host) {
  const shown = JSON.parse(await host.run('ip', '-j', 'address', 'show', 'dev', 'eth0')) as {
    addr_info: { local: string; prefixlen: number; scope: string }[]
  }[]
  for (const { local, prefixlen, scope } of shown[0]!.addr_info) {
    if (scope !== 'global' || local === host.ipv4 || local === host.ipv6) continue
    await host.run('ip', 'address', 'del', `${local}/${prefixlen}`, 'dev', 'eth0')
  }
}

/** Whether a server's clock can be set apart from the machine's. */
export const clocksCanBeSet = existsSync(faketime)
