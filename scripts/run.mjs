/** Runs the program on the pinned Node and ends as it ends. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { pinnedNode, root } from './prepare.mjs'

export function runKeepwatch(args) {
  const source = join(root, 'src', 'main.ts')
  const entry = existsSync(source) ? source : join(root, 'dist', 'main.js')
  // Over the channel the program notices if this process is killed, and stops.
  const child = spawn(pinnedNode(), ['--disable-warning=ExperimentalWarning', entry, ...args], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  })
  // A terminal sends SIGINT to the whole group: the program gets its own.
  process.on('SIGINT', () => {})
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('exit', (code, signal) => {
    process.exit(signal ? 128 + constants.signals[signal] : code)
  })
}
