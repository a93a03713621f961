/** `keepwatch` as a person runs it: arguments in, what it says and its exit code out. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

const main = join(import.meta.dirname, '../../src/main.ts')
const deadlineMs = 60_000

/** @throws if it does not end by itself within a minute */
export async function keepwatch(
  args: string[],
  cwd?: string,
): Promise<{ code: number | null; said: string }> {
  const child = spawn(process.execPath, [main, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd ? { cwd } : {}),
  })
  let said = ''
  for (const output of [child.stdout, child.stderr]) {
    output.on('data', data => {
      said += data
    })
  }
  let late = false
  const timer = setTimeout(() => {
    late = true
    child.kill('SIGKILL')
  }, deadlineMs)
  const [code] = await once(child, 'close')
  clearTimeout(timer)
  if (late) throw new Error(`keepwatch ${args.join(' ')} did not end\n${said}`)
  return { code, said }
}
