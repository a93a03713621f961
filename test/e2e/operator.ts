/** An operator on one machine: runs commands, and servers in the background, each in a folder of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { z } from 'zod'
import { pairEndpoints, type pairState } from '../../src/api/contract/pair.ts'
import { openClient } from '../../src/cli/client.ts'
import { keepwatch } from './program.ts'

const main = join(import.meta.dirname, '../../src/main.ts')
const untilMs = 120_000

export type Pair = z.output<typeof pairState>

export interface Background {
  child: ChildProcess
  said(): string
}

export function createOperator(folder: string) {
  const running = new Set<ChildProcess>()
  const settingsOf = (name: string) => join(folder, name, 'server.yaml')
  const at = (name: string) => ['--settings', settingsOf(name)]

  /** What a command says to programs; throws with all that it said if it fails. */
  async function told<T>(...args: string[]): Promise<T> {
    const { code, said } = await keepwatch([...args, '--json'])
    const line = said.split('\n').find(one => one.startsWith('{') || one.startsWith('['))
    if (code !== 0 || line === undefined) {
      throw new Error(`keepwatch ${args.join(' ')} ended with ${code}:\n${said}`)
    }
    return JSON.parse(line)
  }

  /** Ends a program, or kills it when it has not ended within a minute. */
  async function end(child: ChildProcess) {
    running.delete(child)
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    const late = setTimeout(() => child.kill('SIGKILL'), 60_000)
    await once(child, 'exit')
    clearTimeout(late)
  }

  return {
    settingsOf,
    at,
    told,
    end,

    /** Runs in the background. */
    start(...args: string[]): Background {
      const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
      running.add(child)
      let said = ''
      for (const output of [child.stdout!, child.stderr!]) {
        output.on('data', data => {
          said += data
        })
      }
      return { child, said: () => said }
    },

    async untilPair(name: string, is: (pair: Pair) => boolean, said: () => string): Promise<Pair> {
      const deadline = performance.now() + untilMs
      let last = ''
      // What `keepwatch failover status` asks too; each of those is a process that starts.
      const ask = async (): Promise<Pair> =>
        openClient({ settings: settingsOf(name) }).call(pairEndpoints.getPair)
      while (performance.now() < deadline) {
        const pair = await ask().catch((error: Error) => {
          last = error.message
          return undefined
        })
        if (pair) last = JSON.stringify(pair)
        if (pair && is(pair)) return pair
        await sleep(200)
      }
      throw new Error(`not so in time: ${last}\n${said()}`)
    },

    endAll: () => Promise.all([...running].map(end)),
  }
}

export const rolesOf = (pair: Pair) =>
  Object.fromEntries(pair.servers.map(({ name, role }) => [name, role]))
