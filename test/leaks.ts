/**
 * Fails the run if a suite leaves something behind: every process that the tests start inherits a
 * mark in its environment, and every temporary folder lies in one that has to be empty at the end.
 */
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const graceMs = 5000

export function setup() {
  const mark = `keepwatch-test-${process.pid}-${Date.now()}`
  const folder = join(tmpdir(), mark)
  mkdirSync(folder)
  // A database that runs as a user of its own passes through.
  chmodSync(folder, 0o755)
  process.env.KEEPWATCH_TEST_RUN = mark
  process.env.TMPDIR = folder

  return async () => {
    const deadline = performance.now() + graceMs
    let processes = left(mark)
    while (processes.length > 0 && performance.now() < deadline) {
      await sleep(100)
      processes = left(mark)
    }
    // What the test runner itself keeps there has names of its own.
    const folders = readdirSync(folder).filter(name => name.startsWith('keepwatch'))
    rmSync(folder, { recursive: true, force: true })
    const evidence = [
      ...processes.map(({ pid, command }) => `process ${pid} still runs: ${command}`),
      ...folders.map(name => `temporary folder ${name} is still there`),
    ]
    if (evidence.length === 0) return
    for (const { pid } of processes) process.kill(pid, 'SIGKILL')
    process.exitCode = 1
    throw new Error(`the tests left something behind:\n${evidence.join('\n')}`)
  }
}

/** Processes with the mark, the test runner's own apart. */
function left(mark: string): { pid: number; command: string }[] {
  const found: { pid: number; command: string }[] = []
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid) || pid === process.pid) continue
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'latin1').includes(mark)) continue
      const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ')
      if (!/vitest|esbuild|rolldown/.test(command) && command !== '') found.push({ pid, command })
    } catch {
      // It has just ended, or belongs to somebody else.
    }
  }
  return found
}
