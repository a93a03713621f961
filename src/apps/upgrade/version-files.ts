/**
 * A version of the program on its way from one server to the other: a list of its files by content
 * hash, then only those that the other does not have in the version that it runs.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import {
  chmod,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
} from 'node:fs/promises'
import { dirname, join, normalize, posix, sep } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { z } from 'zod'

const entry = z.union([
  z.object({
    path: z.string().max(1000),
    size: z.number().int().nonnegative(),
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
    mode: z.number().int().min(0).max(0o777),
  }),
  z.object({ path: z.string().max(1000), link: z.string().max(1000) }),
])

export const versionManifest = z.object({
  version: z.string(),
  entries: z.array(entry).max(200_000),
})
export type VersionManifest = z.output<typeof versionManifest>
type FileEntry = Extract<VersionManifest['entries'][number], { sha256: string }>

export async function manifestOf(version: string, folder: string): Promise<VersionManifest> {
  const entries: VersionManifest['entries'] = []
  const names = await readdir(folder, { recursive: true, withFileTypes: true })
  for (const found of names) {
    const file = join(found.parentPath, found.name)
    const path = file
      .slice(folder.length + 1)
      .split(sep)
      .join('/')
    if (found.isSymbolicLink()) entries.push({ path, link: await readlink(file) })
    else if (found.isFile()) {
      const { size, mode } = await lstat(file)
      entries.push({ path, size, sha256: await hashOf(file), mode: mode & 0o777 })
    }
  }
  return { version, entries: entries.sort((a, b) => (a.path < b.path ? -1 : 1)) }
}

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}

/** Why a list of files cannot be trusted; undefined if it can. */
export function faultIn({ entries }: VersionManifest): string | undefined {
  const seen = new Set<string>()
  for (const one of entries) {
    if (!isInside(one.path)) return `${one.path} leads out of the folder`
    if (seen.has(one.path)) return `${one.path} is there twice`
    seen.add(one.path)
    if ('link' in one && !staysInside(one.path, one.link)) {
      return `${one.path} links out of the folder`
    }
  }
  // What lies under a link would be written where the link leads.
  const links = new Set(entries.flatMap(one => ('link' in one ? [one.path] : [])))
  for (const { path } of entries) {
    for (let up = posix.dirname(path); up !== '.'; up = posix.dirname(up)) {
      if (links.has(up)) return `${path} lies under a link`
    }
  }
  return undefined
}

function staysInside(path: string, target: string): boolean {
  return !posix.isAbsolute(target) && isInside(posix.join(posix.dirname(path), target))
}

function isInside(path: string): boolean {
  return path !== '' && !path.startsWith('/') && normalize(path).split(sep)[0] !== '..'
}

/**
 * Puts a version together in `folder`; what is there already and right is kept, so it may be called
 * again after a crash.
 *
 * @param known files of a version that is here: path → hash, under `knownFolder`
 * @param fetch writes the bytes of a hash into a file
 * @returns how many files and bytes were fetched
 * @throws Error if a file is not what its hash says
 */
export async function putTogether(
  manifest: VersionManifest,
  folder: string,
  known: { folder: string; files: ReadonlyMap<string, string> },
  fetch: (sha256: string, size: number, into: string) => Promise<void>,
): Promise<{ files: number; bytes: number }> {
  const fault = faultIn(manifest)
  if (fault !== undefined) throw new Error(`the list of files cannot be trusted: ${fault}`)
  const fetched = { files: 0, bytes: 0 }
  for (const one of manifest.entries) {
    const file = join(folder, one.path)
    await mkdir(dirname(file), { recursive: true })
    if ('link' in one) {
      await rm(file, { force: true })
      await symlink(one.link, file)
      continue
    }
    if (known.files.get(one.path) === one.sha256) {
      await rm(file, { force: true })
      await link(join(known.folder, one.path), file)
      continue
    }
    if (await isThere(file, one)) continue
    const temporary = `${file}.part`
    await fetch(one.sha256, one.size, temporary)
    if ((await hashOf(temporary)) !== one.sha256) {
      await rm(temporary, { force: true })
      throw new Error(`${one.path} arrived damaged`)
    }
    await chmod(temporary, one.mode)
    const handle = await open(temporary, 'r')
    await handle.sync().finally(() => handle.close())
    await rename(temporary, file)
    fetched.files++
    fetched.bytes += one.size
  }
  return fetched
}

async function isThere(file: string, wanted: FileEntry): Promise<boolean> {
  const found = await lstat(file).catch(() => undefined)
  return (
    found?.isFile() === true && found.size === wanted.size && (await hashOf(file)) === wanted.sha256
  )
}
