/** `npm run check`: format and lint, types, unused code, architecture and unit tests, in parallel. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { prepare, root } from './prepare.mjs'
import { unitTestsPassed } from './stamp.mjs'

await prepare({ console: false })

const unitTests = 'unit tests'
const passed = unitTestsPassed()
const bin = name => join(root, 'node_modules', '.bin', name)
const checks = [
  ['format and lint', bin('biome'), ['ci', '--colors=off', '.']],
  ['types', bin('tsc'), []],
  ['types of the console', bin('tsc'), ['-p', 'web']],
  ['unused code', bin('knip'), ['--no-progress']],
  [unitTests, bin('vitest'), ['run', '--project', 'unit', '--project', 'web', '--reporter=dot']],
]
const PATH = `${join(root, 'node_modules', '.bin')}:${process.env.PATH}`

const began = Date.now()
const results = []
const waiting = [...checks]
await Promise.all([worker(), worker()])
const failed = results.filter(result => !result.ok)
process.stdout.write(
  `${results.length - failed.length} of ${results.length} checks passed in ${seconds(began)} s\n`,
)
process.exit(failed.length === 0 ? 0 : 1)

async function worker() {
  for (let check = waiting.shift(); check; check = waiting.shift())
    results.push(await run(...check))
}

function run(name, command, args) {
  const started = Date.now()
  return new Promise(resolve => {
    const child = spawn(command, args, { cwd: root, env: { ...process.env, PATH, NO_COLOR: '1' } })
    const output = []
    child.stdout.on('data', chunk => output.push(chunk))
    child.stderr.on('data', chunk => output.push(chunk))
    child.on('error', error => output.push(Buffer.from(`${error.message}\n`)))
    child.on('close', code => {
      const ok = code === 0
      process.stdout.write(`${ok ? 'ok    ' : 'FAILED'} ${name} (${seconds(started)} s)\n`)
      if (!ok) process.stdout.write(Buffer.concat(output))
      if (ok && name === unitTests) passed.put()
      resolve({ ok })
    })
  })
}

function seconds(since) {
  return ((Date.now() - since) / 1000).toFixed(1)
}
