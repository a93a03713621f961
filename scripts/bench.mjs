/** `bench.mjs <what> [options]`: installs what it needs, then runs test/bench/<what>.ts; the options are explained there. */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { join } from 'node:path'
import { pinnedNode, prepare, root } from './prepare.mjs'
import { installPrograms } from './programs.mjs'

const [what, ...options] = process.argv.slice(2)
await prepare({ console: false })
const missing = installPrograms({ nfcapd: 'nfdump' })
if (missing.length > 0) {
  process.stderr.write(
    'bench: nfcapd, the collector to compare with, is missing: install the package nfdump, or run this as root on Debian\n',
  )
  process.exit(1)
}
// Over the channel the bench notices if this process is killed, and stops.
const child = spawn(
  pinnedNode(),
  ['--disable-warning=ExperimentalWarning', join(root, 'test', 'bench', `${what}.ts`), ...options],
  { cwd: root, stdio: ['inherit', 'inherit', 'inherit', 'ipc'] },
)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => process.exit(signal ? 128 + constants.signals[signal] : code))
