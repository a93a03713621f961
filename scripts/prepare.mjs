/**
 * Makes a checkout ready to run, on any Node ≥ 20 and with nothing installed: the packages by the
 * lock file, then the console. Says what it does while it does it, on standard error.
 * Everything is skipped that is already there, so that later starts work offline and at once.
 */
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createStamp } from './stamp.mjs'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** The Node that everything of ours runs on, pinned by the npm package `node`, wherever npm put it. */
export function pinnedNode() {
  return join(dirname(createRequire(import.meta.url).resolve('node/package.json')), 'bin', 'node')
}

export async function prepare({ console: needsConsole = true } = {}) {
  const [major] = process.versions.node.split('.')
  if (Number(major) < 20)
    fail(`Keepwatch needs Node 20 or newer to begin; this is ${process.version}.`)
  await step(['package-lock.json'], join('node_modules', '.keepwatch-installed'), () =>
    // Not `npm ci`: it refuses a lock file that lacks the binaries of platforms nobody here has.
    run(
      'npm',
      ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'],
      'Installing packages',
    ),
  )
  if (!needsConsole) return
  await step(
    ['web/index.html', 'web/vite.config.ts', 'web/src', 'src/api/contract', 'src/telemetry'],
    join('web', 'dist', '.keepwatch-built'),
    () =>
      run(
        pinnedNode(),
        [join('node_modules', 'vite', 'bin', 'vite.js'), 'build', 'web', '--logLevel', 'warn'],
        'Building the console',
      ),
  )
}

/** Does the work unless the stamp says that it was done for these very inputs. */
async function step(inputs, stamp, work) {
  const done = createStamp(inputs, stamp, path => !/\.test\.tsx?$/.test(path))
  if (done.isThere()) return
  await work()
  done.put()
}

function run(command, args, what) {
  const began = Date.now()
  process.stderr.write(`${what} …\n`)
  const seconds = () => Math.round((Date.now() - began) / 1000)
  const progress = setInterval(() => process.stderr.write(`${what} … ${seconds()} s\n`), 10_000)
  return new Promise(resolve => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 2, 2] })
    child.on('error', error => fail(`${what}: ${error.message}`))
    child.on('exit', code => {
      clearInterval(progress)
      if (code !== 0) fail(`${what} failed (exit code ${code}); what it said is above.`)
      process.stderr.write(`${what}: done in ${seconds()} s\n`)
      resolve()
    })
  })
}

function fail(message) {
  process.stderr.write(`${message}\n`)
  process.exit(1)
}
