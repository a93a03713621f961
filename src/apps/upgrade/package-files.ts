/** What belongs to a package that lies on this machine with its dependencies, wherever npm put them. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { filesUnder } from './version-files.ts'

interface Package {
  name: string
  version: string
  files?: string[]
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
}

/** Part of a package whatever its `files` say. */
const always = 'package.json'

/**
 * @param root folder of the package, compiled
 * @returns a folder, and under it the paths of all that the package needs to run, laid out so that
 *   Node finds it in a copy too
 * @throws Error if something is missing
 */
export async function packageFiles(root: string): Promise<{ folder: string; paths: string[] }> {
  const own = readPackage(root)
  if (!existsSync(join(root, 'dist', 'main.js'))) throw new Error(`${root} has not been compiled`)
  // A package beside others has its dependencies there.
  const at = root.split(sep)
  const above = at.indexOf('node_modules')
  const folder = above < 0 ? root : at.slice(0, above).join(sep)
  const paths: string[] = []
  const add = (from: string, inside: readonly string[]) => {
    const prefix = relative(folder, from).split(sep).join('/')
    for (const path of inside) paths.push(prefix === '' ? path : `${prefix}/${path}`)
  }
  for (const part of [always, ...(own.files ?? [])]) {
    const path = join(root, part)
    if (!existsSync(path)) continue
    if (!statSync(path).isDirectory()) add(root, [part])
    else add(path, await filesUnder(path))
  }
  for (const dependency of dependenciesOf(root)) {
    const files = await filesUnder(dependency)
    add(
      dependency,
      files.filter(path => !path.startsWith('node_modules/')),
    )
  }
  return { folder, paths }
}

/** Whether a folder is a package that lies there with what it needs, Node first of all. */
export function isRunnable(root: string): boolean {
  return existsSync(join(root, 'package.json')) && find(root, 'node') !== undefined
}

export function readPackage(root: string): Package {
  return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
}

/** Folders of all packages that it needs, directly or not. Optional ones may be missing. */
function dependenciesOf(root: string): Set<string> {
  const found = new Set<string>()
  const look = (folder: string) => {
    const { dependencies = {}, optionalDependencies = {} } = readPackage(folder)
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const dependency = find(folder, name)
      if (dependency === undefined) {
        if (name in optionalDependencies) continue
        throw new Error(`${folder} needs the package ${name}, which is not installed`)
      }
      if (found.has(dependency)) continue
      found.add(dependency)
      look(dependency)
    }
  }
  look(root)
  return found
}

/** As Node looks for a package: in `node_modules` here and in every folder above. */
function find(from: string, name: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name)
    if (existsSync(join(candidate, 'package.json'))) return candidate
    if (folder === dirname(folder)) return undefined
  }
}
