/** Where everything lies in the shared folder, and under which names. Paths in it are relative. */

/** Written once, when the folder is prepared: whose it is. */
export const markerFile = '.keepwatch.json'

/** What lies in the folder beside the marker. */
export const areas = ['spool', 'mirror', 'servers', 'reports', 'bundles'] as const

/** Areas whose files both servers write, one after the other. */
export type FileArea = 'reports' | 'bundles'

export interface Marker {
  keepwatch: 1
  /** The same on both servers, different in every other deployment. */
  deployment: string
}

/** The marker in a file's text, undefined if it is not one. */
export function parseMarker(text: string): Marker | undefined {
  try {
    const { keepwatch, deployment } = JSON.parse(text) as Partial<Marker>
    return keepwatch === 1 && typeof deployment === 'string' ? { keepwatch, deployment } : undefined
  } catch {
    return undefined
  }
}

/** Names of files that are not there yet: they begin with a dot and end so. */
const temporaryEnd = '.keepwatch-tmp'

export const temporaryName = (name: string, writer: string) => `.${name}.${writer}${temporaryEnd}`

export const isTemporary = (name: string) => name.startsWith('.') && name.endsWith(temporaryEnd)

/** Of a segment in the shared folder. */
export interface SegmentPlace {
  /** UUID of the spool that sealed it. */
  collector: string
  kind: string
  sequence: number
}

const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const kindForm = /^[a-z]{1,16}$/
const segmentForm = /^(\d{12,16})\.segment$/

export const isCollector = (name: string) => uuidForm.test(name)
export const isKind = (name: string) => kindForm.test(name)

/** `spool/<collector>/<kind>/<sequence>.segment` */
export function segmentPath({ collector, kind, sequence }: SegmentPlace): string {
  if (!isCollector(collector) || !isKind(kind) || !Number.isSafeInteger(sequence) || sequence < 0) {
    throw new Error(`there is no segment ${collector}/${kind}/${sequence}`)
  }
  return `spool/${collector}/${kind}/${String(sequence).padStart(12, '0')}.segment`
}

/** The sequence in a segment's file name, undefined if it is another file. */
export function segmentSequence(name: string): number | undefined {
  const match = segmentForm.exec(name)
  return match === null ? undefined : Number(match[1])
}

/** A report or a bundle, as the shared folder has it. */
export interface KeptFile {
  /** As it was given: `october.pdf`. */
  name: string
  /** Of the active that wrote it. */
  term: number
  /** The path in the folder. */
  path: string
  /** The first 16 hexadecimal digits of the content's SHA-256. */
  hash: string
}

const keptName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,150}$/

export const hashDigits = 16

/**
 * `reports/000000000012/october~0123456789abcdef.pdf`: two servers never write the same file, and
 * whoever reads one can tell whether it is whole.
 *
 * @throws Error if the name is not one
 */
export function keptPath(area: FileArea, term: number, name: string, sha256: string): string {
  if (!keptName.test(name)) {
    throw new Error(`a file in ${area} is named with letters, digits, dots and hyphens: ${name}`)
  }
  const dot = name.lastIndexOf('.')
  const stem = dot > 0 ? name.slice(0, dot) : name
  const extension = dot > 0 ? name.slice(dot) : ''
  return `${area}/${termFolder(term)}/${stem}~${sha256.slice(0, hashDigits)}${extension}`
}

const termFolder = (term: number) => String(term).padStart(12, '0')

/** The reverse of `keptPath`, undefined for any other file. */
export function parseKept(path: string): KeptFile | undefined {
  const match = /^(?:reports|bundles)\/(\d{12,16})\/([^/]+)~([0-9a-f]{16})(\.[^/~]*)?$/.exec(path)
  if (match === null) return undefined
  return {
    name: `${match[2]}${match[4] ?? ''}`,
    term: Number(match[1]),
    path,
    hash: match[3]!,
  }
}
