/**
 * A version of the program on its way from one server to the other: a list of its files by content
 * hash, then only those that the other does not have in the version that it runs.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import {
  chmod,
  copyFile,
  link,
  lstat,
  mkdir,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
} from 'node:fs/promises'
import { dirname, join, normalize, posix, relative, sep } from 'node:path'
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
const chunkBytes = 1024 * 1024

export type FileEntry = Extract<VersionManifest['entries'][number], { sha256: string }>

/**
 * @param paths of files and links under the folder, with `/`; by default all that are there
 * @throws Error if one of them is neither
 */
export async function manifestOf(
  version: string,
  folder: string,
  paths?: readonly string[],
): Promise<VersionManifest> {
  const entries: VersionManifest['entries'] = []
  for (const path of paths ?? (await filesUnder(folder))) {
    const file = join(folder, path)
    const found = await lstat(file)
    if (found.isSymbolicLink()) entries.push({ path, link: await readlink(file) })
    else if (found.isFile()) {
      const mode = found.mode & 0o777
      entries.push({ path, size: found.size, sha256: await hashOf(file), mode })
    } else throw new Error(`${file} is neither a file nor a link`)
  }
  return { version, entries: entries.sort((a, b) => (a.path < b.path ? -1 : 1)) }
}

/** Relative paths of the files and links under a folder. */
export async function filesUnder(folder: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true })
  return found
    .filter(entry => entry.isFile() || entry.isSymbolicLink())
    .map(entry => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
}

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file, { highWaterMark: chunkBytes }), hash)
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

/** Where the files come from. */
export interface FileSource {
  /** Writes the bytes of a file into another. */
  fetch(wanted: FileEntry, into: string): Promise<void>
  /** They are what the list was made from: what arrives need not be hashed. */
  trusted: boolean
}

/** What is here already and need not be fetched: the files of an installed version. */
export interface KnownVersion {
  folder: string
  manifest: VersionManifest
}

/**
 * Puts a version together in `folder`; what is there already and right is kept, so it may be called
 * again after a crash. What a known version has too becomes a second link to it. Nothing is synced.
 *
 * @returns how many files and bytes were fetched
 * @throws Error if a file is not what its hash says
 */
export async function putTogether(
  manifest: VersionManifest,
  folder: string,
  known: KnownVersion | undefined,
  source: FileSource,
): Promise<{ files: number; bytes: number }> {
  const fault = faultIn(manifest)
  if (fault !== undefined) throw new Error(`the list of files cannot be trusted: ${fault}`)
  const here = new Map(
    (known?.manifest.entries ?? []).flatMap(one =>
      'sha256' in one ? [[contentOf(one), join(known!.folder, one.path)] as const] : [],
    ),
  )
  const fetched = { files: 0, bytes: 0 }
  await removeOthers(manifest, folder)
  for (const one of manifest.entries) {
    const file = join(folder, one.path)
    await mkdir(dirname(file), { recursive: true })
    if ('link' in one) {
      await rm(file, { force: true })
      await symlink(one.link, file)
      continue
    }
    if (await isThere(file, one)) continue
    const temporary = `${file}.part`
    await rm(temporary, { force: true })
    const same = here.get(contentOf(one))
    if (same === undefined || !(await linkOrCopy(same, temporary))) {
      await source.fetch(one, temporary)
      if (!source.trusted && (await hashOf(temporary)) !== one.sha256) {
        await rm(temporary, { force: true })
        throw new Error(`${one.path} arrived damaged`)
      }
      await chmod(temporary, one.mode)
      fetched.files++
      fetched.bytes += one.size
    }
    await rename(temporary, file)
  }
  return fetched
}

/** What an installation of something else under the same name has left. */
async function removeOthers(manifest: VersionManifest, folder: string) {
  await mkdir(folder, { recursive: true })
  const wanted = new Set(manifest.entries.map(({ path }) => path))
  for (const path of await filesUnder(folder)) {
    if (!wanted.has(path)) await rm(join(folder, path))
  }
}

/** Links share their mode. */
function contentOf({ sha256, mode }: FileEntry): string {
  return `${sha256}/${mode}`
}

/** The kernel may refuse a link to somebody else's file (`fs.protected_hardlinks`). */
async function linkOrCopy(from: string, to: string): Promise<boolean> {
  const linked = link(from, to).catch(() => copyFile(from, to))
  return linked.then(
    () => true,
    () => false,
  )
}

async function isThere(file: string, wanted: FileEntry): Promise<boolean> {
  const found = await lstat(file).catch(() => undefined)
  if (!found?.isFile() || found.size !== wanted.size) return false
  return (found.mode & 0o777) === wanted.mode && (await hashOf(file)) === wanted.sha256
}
