import { spawn } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { type Home, isVersion } from './home.ts'

const installMs = 1_800_000
const askMs = 60_000

/**
 * Installs a package of the program beside the versions that are here, without using it.
 *
 * @param source what npm takes: a file `keepwatch-0.3.0.tgz`, a folder, or `keepwatch@0.3.0`
 * @returns its version
 * @throws Error with what npm or the program said
 */
export async function installVersion(
  home: Home,
  source: string,
  say: (line: string) => void,
): Promise<string> {
  // Its version is not known before it is here.
  const folder = home.prepare('0.0.0-incoming')
  await rm(folder, { recursive: true, force: true })
  home.prepare('0.0.0-incoming')
  say(`installing ${source} …`)
  await run('npm', installMs, [
    'install',
    '--prefix',
    folder,
    '--omit=dev',
    '--install-links',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
    source,
  ])
  const { node, main } = home.program('.0.0.0-incoming.new')
  const version = (await run(node, askMs, [main, '--version'])).trim()
  if (!isVersion(version)) throw new Error(`the program says that its version is "${version}"`)
  if (home.has(version)) {
    await rm(folder, { recursive: true, force: true })
    say(`version ${version} is installed already`)
    return version
  }
  home.complete(version, '0.0.0-incoming')
  say(`version ${version} is installed in ${home.folderOf(version)}`)
  return version
}

/** @returns what it printed. @throws Error with the end of what it said */
function run(command: string, deadlineMs: number, args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: deadlineMs,
      killSignal: 'SIGKILL',
    })
    let out = ''
    let said = ''
    child.stdout.on('data', chunk => {
      out += chunk
    })
    child.stderr.on('data', chunk => {
      said = (said + chunk).slice(-4000)
    })
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      if (code === 0) resolve(out)
      else reject(new Error(`${command} ended with ${signal ?? code}: ${said.trim()}`))
    })
  })
}
