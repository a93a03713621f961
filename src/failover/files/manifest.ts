/** What the active announces: the files of each root, by content. Pure. */
import { z } from 'zod'

/** A file of a root. */
export interface FileEntry {
  /** In the root, with `/` between names. */
  path: string
  /** Bytes. */
  size: number
  /** SHA-256 of the content, hexadecimal. */
  sha256: string
  /** Permissions, at most 0o777. */
  mode: number
}

export interface Manifest {
  server: string
  /** In which the server is active. */
  term: number
  /** Changes whenever a file does. */
  version: string
  roots: { name: string; files: FileEntry[] }[]
}

export const limits = {
  roots: 16,
  /** Of all roots together. */
  files: 10_000,
  fileBytes: 256 * 1024 * 1024,
  totalBytes: 4 * 1024 ** 3,
  pathBytes: 1024,
  nameBytes: 255,
  manifestBytes: 8 * 1024 * 1024,
} as const

/** In each root, files on their way: never announced, never looked at by others. */
export const incomingFolder = '.keepwatch-incoming'

/** Why a manifest was not taken. */
export type Refused = 'bad-manifest' | 'evil-path' | 'too-large' | 'older-term'

export class ManifestRefused extends Error {
  override name = 'ManifestRefused'
  readonly reason: Refused
  constructor(reason: Refused, message: string) {
    super(message)
    this.reason = reason
  }
}

const manifest: z.ZodType<Manifest> = z.strictObject({
  server: z.string().min(1).max(255),
  term: z.number().int().nonnegative(),
  version: z.string().regex(/^[0-9a-f]{64}$/),
  roots: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[a-z][a-z0-9-]{0,31}$/),
        files: z.array(
          z.strictObject({
            path: z.string(),
            size: z.number().int().nonnegative(),
            sha256: z.string().regex(/^[0-9a-f]{64}$/),
            mode: z.number().int().min(0).max(0o777),
          }),
        ),
      }),
    )
    .max(limits.roots),
})

/** What is wrong with a path as one in a root; undefined if nothing is. */
export function pathFault(path: string): string | undefined {
  if (path === '') return 'is empty'
  if (Buffer.byteLength(path) > limits.pathBytes) return 'is too long'
  if (path.startsWith('/')) return 'is absolute'
  if (path.includes('\\') || /\p{Cc}/u.test(path)) return 'has a character that names do not have'
  if (!path.isWellFormed()) return 'is not well-formed text'
  for (const name of path.split('/')) {
    if (name === '') return 'has an empty name in it'
    if (name === '.' || name === '..') return `has ${name} in it`
    if (name === incomingFolder) return `has ${incomingFolder} in it`
    if (Buffer.byteLength(name) > limits.nameBytes) return 'has a name that is too long'
  }
  return undefined
}

/** The text as a manifest whose every path is one in its root. @throws ManifestRefused */
export function parseManifest(text: string): Manifest {
  let parsed: Manifest
  try {
    parsed = manifest.parse(JSON.parse(text))
  } catch (error) {
    const why = (error as Error).message.slice(0, 500)
    throw new ManifestRefused('bad-manifest', `not a manifest: ${why}`)
  }
  const names = new Set<string>()
  let files = 0
  let bytes = 0
  for (const root of parsed.roots) {
    if (names.has(root.name)) {
      throw new ManifestRefused('bad-manifest', `the root ${root.name} is announced twice`)
    }
    names.add(root.name)
    refuseEvil(root.name, root.files)
    for (const { path, size } of root.files) {
      files++
      bytes += size
      if (size > limits.fileBytes) {
        throw new ManifestRefused('too-large', `${root.name}/${path} has ${size} bytes`)
      }
    }
  }
  if (files > limits.files || bytes > limits.totalBytes) {
    throw new ManifestRefused('too-large', `${files} files of ${bytes} bytes are announced`)
  }
  return parsed
}

function refuseEvil(root: string, files: readonly FileEntry[]) {
  const paths = new Set<string>()
  const folders = new Set<string>()
  const refuse = (path: string, why: string) => {
    throw new ManifestRefused('evil-path', `${root}: ${JSON.stringify(path.slice(0, 200))} ${why}`)
  }
  for (const { path } of files) {
    const fault = pathFault(path)
    if (fault !== undefined) refuse(path, fault)
    if (paths.has(path)) refuse(path, 'is announced twice')
    paths.add(path)
    for (let at = path.indexOf('/'); at > 0; at = path.indexOf('/', at + 1)) {
      folders.add(path.slice(0, at))
    }
  }
  for (const path of paths) if (folders.has(path)) refuse(path, 'is a file and a folder')
}

/** What makes the files of a root those that are wanted. */
export interface Plan {
  /** Contents that are not there under any name, each once. */
  fetch: FileEntry[]
  /** Files to be put in their places. */
  place: FileEntry[]
  /** Files to be removed before that, because they are in the way. */
  clear: string[]
  /** Files to be removed at last. */
  remove: string[]
  /** Files whose content is right and whose permissions are not. */
  change: FileEntry[]
}

export function planOf(wanted: readonly FileEntry[], present: readonly FileEntry[]): Plan {
  const here = new Map(present.map(file => [file.path, file]))
  const contents = new Set(present.map(file => file.sha256))
  const names = new Set(wanted.map(file => file.path))
  const place = wanted.filter(file => here.get(file.path)?.sha256 !== file.sha256)
  const fetch = new Map(
    place.filter(file => !contents.has(file.sha256)).map(file => [file.sha256, file]),
  )
  const gone = present.map(file => file.path).filter(path => !names.has(path))
  const folders = new Set(place.flatMap(file => foldersOf(file.path)))
  const placed = new Set(place.map(file => file.path))
  const inTheWay = (path: string) =>
    folders.has(path) || foldersOf(path).some(folder => placed.has(folder))
  return {
    fetch: [...fetch.values()],
    place,
    clear: gone.filter(inTheWay),
    remove: gone.filter(path => !inTheWay(path)),
    change: wanted.filter(file => {
      const now = here.get(file.path)
      return now?.sha256 === file.sha256 && now.mode !== file.mode
    }),
  }
}

export function isDone({ place, clear, remove, change }: Plan): boolean {
  return place.length + clear.length + remove.length + change.length === 0
}

/** The folders that a path leads through. */
export function foldersOf(path: string): string[] {
  const names = path.split('/')
  return names.slice(1).map((_, index) => names.slice(0, index + 1).join('/'))
}
