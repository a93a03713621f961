/** Programs of other packages that tests and benches talk to, by the Debian package that brings them. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/**
 * Installs what is missing, if this is root on a Debian.
 * @param programs program → package
 * @returns the programs that are still missing
 */
export function installPrograms(programs) {
  const missing = () => Object.keys(programs).filter(program => !onPath(program))
  const before = missing()
  if (before.length === 0 || process.getuid?.() !== 0 || !onPath('apt-get')) return before
  const packages = before.map(program => programs[program])
  process.stderr.write(`Installing Debian packages: ${packages.join(' ')} …\n`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const options = { stdio: ['ignore', 'ignore', 'inherit'], env, timeout: 300_000 }
  spawnSync('apt-get', ['update', '-q'], options)
  spawnSync('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...packages], options)
  return missing()
}

function onPath(program) {
  return [...process.env.PATH.split(delimiter), '/usr/sbin', '/sbin'].some(folder =>
    existsSync(join(folder, program)),
  )
}
