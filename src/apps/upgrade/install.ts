import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { copyFile, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type Home, isVersion, manifestFile } from './home.ts'
import { isRunnable, packageFiles, readPackage } from './package-files.ts'
import {
  type FileSource,
  type KnownVersion,
  manifestOf,
  putTogether,
  type VersionManifest,
  versionManifest,
} from './version-files.ts'

const installMs = 1_800_000
const askMs = 60_000
const syncMs = 600_000
/** A version whose number is not known before it is here. */
const incoming = '0.0.0-incoming'

/** The package that runs: of the sources as of the compiled program. */
const ownPackage = resolve(import.meta.dirname, '../../..')

/**
 * Installs a package of the program beside the versions that are here, without using it. What the
 * current version has too is not stored twice.
 *
 * @param source a folder with the package, or what npm takes: `keepwatch-0.3.0.tgz`,
 *   `keepwatch@0.3.0`; undefined: the package that runs
 * @param accept throws if the version is not wanted, before it takes room
 * @returns its version
 * @throws Error with what npm or the program said
 */
export async function installVersion(
  home: Home,
  source: string | undefined,
  say: (line: string) => void,
  accept: (version: string) => void = () => {},
): Promise<string> {
  const folder = source === undefined ? ownPackage : resolve(source)
  if (source === undefined || isRunnable(folder)) {
    if (existsSync(join(folder, 'src', 'main.ts'))) {
      say(`compiling ${folder} …`)
      await run(process.execPath, installMs, [join(folder, 'scripts', 'build.mjs')])
    }
    const { name, version } = readPackage(folder)
    if (name !== 'keepwatch') throw new Error(`${folder} holds the package ${name}, not keepwatch`)
    if (isHere(version)) return version
    say(`installing version ${version} from ${folder} …`)
    const { folder: from, paths } = await packageFiles(folder)
    return take(await manifestOf(version, from, paths), {
      fetch: (one, into) => copyFile(join(from, one.path), into),
      trusted: true,
    })
  }
  const fetched = home.prepare(incoming)
  await rm(fetched, { recursive: true, force: true })
  home.prepare(incoming)
  say(`npm fetches ${source} …`)
  const options = ['--omit=dev', '--install-links', '--no-audit', '--no-fund', '--loglevel=error']
  await run('npm', installMs, ['install', '--prefix', fetched, ...options, source])
  const version = readPackage(join(fetched, 'node_modules', 'keepwatch')).version
  if (!isHere(version)) {
    say(`installing version ${version} …`)
    await take(await manifestOf(version, fetched), {
      fetch: (one, into) => rename(join(fetched, one.path), into),
      trusted: true,
    })
  }
  await rm(fetched, { recursive: true, force: true })
  return version

  function isHere(version: string): boolean {
    if (!isVersion(version)) throw new Error(`"${version}" is not a version`)
    accept(version)
    if (!home.has(version)) return false
    say(`version ${version} is installed already`)
    return true
  }

  async function take(manifest: VersionManifest, from: FileSource): Promise<string> {
    const { version } = manifest
    const { files, bytes } = await finishVersion(home, manifest, from)
    say(
      `version ${version} is in ${home.folderOf(version)}: ${files} files, ${sizeOf(bytes)}, were new`,
    )
    return version
  }
}

/**
 * Puts a version together out of the current one and what is fetched, tries whether it starts at all,
 * and gives it its name.
 *
 * @throws Error if it cannot be put together, or does not say its version
 */
export async function finishVersion(
  home: Home,
  manifest: VersionManifest,
  source: FileSource,
): Promise<{ files: number; bytes: number }> {
  const { version } = manifest
  const folder = home.prepare(version)
  const fetched = await putTogether(manifest, folder, await currentFiles(home), source)
  await writeFile(join(folder, manifestFile), JSON.stringify(manifest))
  // All at once: thousands of files, one by one, would take minutes.
  await run('sync', syncMs, ['--file-system', folder])
  const { node, main } = home.program(`.${version}.new`)
  const said = (await run(node, askMs, [main, '--version'])).trim()
  if (said !== version) throw new Error(`the program says that its version is "${said}"`)
  home.complete(version)
  return fetched
}

/** The list of files of an installed version, made when it was installed. */
export async function installedManifest(home: Home, version: string): Promise<VersionManifest> {
  const text = await readFile(join(home.folderOf(version), manifestFile), 'utf8')
  return versionManifest.parse(JSON.parse(text))
}

async function currentFiles(home: Home): Promise<KnownVersion | undefined> {
  const version = home.current()
  if (version === undefined) return undefined
  try {
    return { folder: home.folderOf(version), manifest: await installedManifest(home, version) }
  } catch {
    // Everything has to be fetched then.
    return undefined
  }
}

export function sizeOf(bytes: number): string {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`
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
    child.on('close', (code, signal) => {
      if (code === 0) resolve(out)
      else reject(new Error(`${command} ended with ${signal ?? code}: ${said.trim()}`))
    })
  })
}
