/** A whole deployment as `npm start` runs it, on free ports in a folder of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse } from 'yaml'
import type { PairSummary } from '../../src/apps/pair/pair.ts'
import { defaultPorts } from '../../src/apps/pair/ports.ts'

const root = join(import.meta.dirname, '../..')
const startDeadlineMs = 120_000
const stopDeadlineMs = 60_000
/** Each port that a deployment listens on, also one that was added since: another test may have it. */
const portOptions = Object.keys(defaultPorts).map(name => name.replaceAll('_', '-'))

export interface Active {
  server: string
  role: 'active' | 'standby' | 'stopped'
  term: number
  sentence: string
}

export interface TestDeployment {
  dataDir: string
  summary: PairSummary
  databaseUrl: string
  /** Calls the API with the token; throws unless it answers 200. */
  call<T>(url: string, method: string, path: string, body?: object): Promise<T>
  /** Waits until a server is active and none of `except`; answers with it and the seconds it took. */
  untilActive(
    except?: string,
  ): Promise<{ name: string; url: string; term: number; seconds: number }>
  pidOf(name: string): Promise<number>
  /** Stops everything and keeps the data. */
  stop(): Promise<void>
  /** Removes the data. */
  remove(): void
}

export async function startDeployment(
  options: { dataDir?: string; simulation?: boolean } = {},
): Promise<TestDeployment> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'keepwatch-e2e-'))
  const child = spawn(
    process.execPath,
    [
      join(root, 'src/main.ts'),
      'pair',
      '--json',
      '--data',
      dataDir,
      ...(options.simulation ? [] : ['--no-simulation']),
      ...portOptions.flatMap(name => [`--${name}-port`, '0']),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  const said: string[] = []
  createInterface(child.stderr!).on('line', line => said.push(line))
  const summary = await firstLine(child, said, join(dataDir, 'logs')).catch(error => {
    if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true })
    throw error
  })
  const settings = parse(readFileSync(join(dataDir, 'server-a.yaml'), 'utf8')) as {
    database: { url: string }
  }

  async function ask(url: string): Promise<Active | undefined> {
    return fetch(`${url}/active`, { signal: AbortSignal.timeout(500) }).then(
      response => response.json() as Promise<Active>,
      () => undefined,
    )
  }

  return {
    dataDir,
    summary,
    databaseUrl: settings.database.url,
    async call(url, method, path, body) {
      const response = await fetch(`${url}/api/v1${path}`, {
        method,
        headers: {
          authorization: `Bearer ${summary.token}`,
          ...(body ? { 'content-type': 'application/json' } : {}),
        },
        ...(body ? { body: JSON.stringify(body) } : {}),
        signal: AbortSignal.timeout(20_000),
      })
      const text = await response.text()
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
      return JSON.parse(text)
    },
    async untilActive(except) {
      const began = performance.now()
      while (performance.now() - began < 90_000) {
        for (const { name, url } of summary.servers) {
          if (name === except) continue
          const answer = await ask(url)
          if (answer?.role === 'active') {
            const seconds = (performance.now() - began) / 1000
            return { name, url, term: answer.term, seconds }
          }
        }
        await sleep(20)
      }
      throw new Error(`nobody became active\n${said.join('\n')}`)
    },
    async pidOf(name) {
      const { pid } = parse(readFileSync(join(dataDir, 'pids.json'), 'utf8'))[name] ?? {}
      if (pid === undefined) throw new Error(`${name} does not run\n${said.join('\n')}`)
      return pid
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGINT')
      const killer = setTimeout(() => child.kill('SIGKILL'), stopDeadlineMs)
      await once(child, 'exit')
      clearTimeout(killer)
      if (child.signalCode === 'SIGKILL') throw new Error(`it did not stop\n${said.join('\n')}`)
    },
    remove: () => rmSync(dataDir, { recursive: true, force: true }),
  }
}

async function firstLine(child: ChildProcess, said: string[], logs: string): Promise<PairSummary> {
  const lines = createInterface(child.stdout!)
  const late = AbortSignal.timeout(startDeadlineMs)
  const line = await Promise.race([
    once(lines, 'line', { signal: late }).then(([text]) => text as string),
    once(child, 'exit').then(() => undefined),
  ])
  if (line === undefined) {
    throw new Error(`the deployment did not start\n${said.join('\n')}\n${lastLinesIn(logs)}`)
  }
  return JSON.parse(line)
}

/** The folder is removed with the deployment. */
function lastLinesIn(folder: string): string {
  if (!existsSync(folder)) return ''
  const ends = readdirSync(folder).map(file => {
    const lines = readFileSync(join(folder, file), 'utf8').trimEnd().split('\n')
    return `${file}:\n${lines.slice(-5).join('\n')}`
  })
  return ends.join('\n')
}
