import { readFileSync } from 'node:fs'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type HookedAdapter, withHook } from '../../src/failover/address/hook.ts'
import { createAddressMeter } from '../../src/failover/address/meter.ts'
import { noAddress } from '../../src/failover/address/none.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createLog } from '../../src/lib/log.ts'
import { createMetrics } from '../../src/lib/metrics.ts'
import { until } from './address-lab.ts'

let folder: string
let logged: string
let adapter: HookedAdapter | undefined
const metrics = createMetrics({})

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keepwatch-hook-'))
  logged = ''
})
afterEach(async () => {
  await adapter?.stop()
  adapter = undefined
  await rm(folder, { recursive: true, force: true })
})

/** With a shell script as the command, which finds the folder as its first argument. */
async function hooked(script: string, deadlineMs = 10_000): Promise<HookedAdapter> {
  const file = join(folder, 'hook.sh')
  await writeFile(file, `#!/bin/sh\n${script}\n`)
  await chmod(file, 0o755)
  const clock = systemClock
  const write = (line: string) => {
    logged += line
  }
  const log = createLog({ level: 'warn', part: 'hook' }, { write })
  metrics.clear()
  adapter = withHook(
    noAddress,
    { command: [file, folder], deadlineMs, server: 'a' },
    {
      ...{ clock, log, meter: createAddressMeter({ clock, log, metrics }) },
      addresses: () => ['192.0.2.10/24', '2001:db8::10/64'],
    },
  )
  return adapter
}

function calls(): string[] {
  try {
    return readFileSync(join(folder, 'calls'), 'utf8').trim().split('\n')
  } catch {
    return []
  }
}

const record =
  'echo "$2 $KEEPWATCH_EVENT $KEEPWATCH_SERVER $KEEPWATCH_TERM $KEEPWATCH_ADDRESSES" >> "$1/calls"'
const addresses = '192.0.2.10/24 2001:db8::10/64'

test('the command is told of each taking and dropping, once', async () => {
  const { take, drop, start, status } = await hooked(record)
  await start()
  await drop()
  expect(calls(), 'nothing had been taken').toEqual([])
  await take(4)
  await take(4)
  await drop()
  await drop()
  await take(6)
  expect(calls()).toEqual([
    `take take a 4 ${addresses}`,
    `drop drop a 4 ${addresses}`,
    `take take a 6 ${addresses}`,
  ])
  expect(status().fault).toBeUndefined()
})

test('a command that fails is shown with its last words, logged, counted, and tried again', {
  timeout: 30_000,
}, async () => {
  const { take, status } = await hooked(
    `${record}; [ "$(wc -l < "$1/calls")" -gt 1 ] || { echo trying; echo "no such instance" >&2; exit 3; }`,
  )
  await take(1)
  expect(status().fault).toBe('the hook failed at take: exit code 3 (no such instance)')
  expect(logged).toContain('trying')
  expect(await metrics.metrics()).toContain('keepwatch_address_problems_total{reason="hook"} 1')
  await until(
    async () => status().fault === undefined,
    () => `${status().fault}`,
  )
  expect(calls()).toEqual([`take take a 1 ${addresses}`, `take take a 1 ${addresses}`])
})

test('a command that hangs is ended with all that it started, and holds up neither take nor drop', {
  timeout: 30_000,
}, async () => {
  const { take, drop, status } = await hooked(
    'sleep 1000 & echo $! > "$1/child"; echo $$ > "$1/self"; wait',
    2000,
  )
  const before = performance.now()
  await take(1)
  const takenMs = performance.now() - before
  await drop()
  const droppedMs = performance.now() - before - takenMs
  console.log(`hanging hook: take ${takenMs.toFixed(0)} ms, drop ${droppedMs.toFixed(0)} ms`)
  expect(takenMs).toBeLessThan(2000)
  expect(droppedMs).toBeLessThan(2000)
  const pids = ['child', 'self'].map(name => Number(readFileSync(join(folder, name), 'utf8')))
  await until(
    async () => !pids.some(runs),
    () => `still there: ${pids.filter(runs)}`,
  )
  await until(
    async () => status().fault?.includes('not finished in 2000 ms'),
    () => `${status().fault}`,
  )
})

test('a command that is not there is a fault that says so', async () => {
  const { take, status } = await hooked(record)
  await rm(join(folder, 'hook.sh'))
  await take(1)
  expect(status().fault).toContain('cannot be started')
})

function runs(pid: number): boolean {
  try {
    // A zombie waits for nothing but its parent.
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  } catch {
    return false
  }
}
