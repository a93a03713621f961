/** What can be wrong with the shared folder, in words: what it is and what a person can do. */

export type FaultKind =
  | 'hung'
  | 'full'
  | 'read-only'
  | 'forbidden'
  | 'missing'
  | 'not-mounted'
  | 'not-ours'
  | 'stale'
  | 'failed'
  | 'process-failed'

export interface FolderFault {
  kind: FaultKind
  /** A sentence, with what to do. */
  text: string
}

/** What a request to the shared folder rejects with. */
export class FolderUnusable extends Error {
  override name = 'FolderUnusable'
  readonly kind: FaultKind | 'busy' | 'absent' | 'superseded' | 'damaged' | 'off'
  constructor(kind: FolderUnusable['kind'], message: string) {
    super(message)
    this.kind = kind
  }
}

const kindOfCode: Record<string, FaultKind> = {
  ENOSPC: 'full',
  EDQUOT: 'full',
  EFBIG: 'full',
  EROFS: 'read-only',
  EACCES: 'forbidden',
  EPERM: 'forbidden',
  ESTALE: 'stale',
  ENOTCONN: 'stale',
  ENODEV: 'stale',
  ENXIO: 'stale',
  EHOSTDOWN: 'stale',
  EHOSTUNREACH: 'stale',
  ETIMEDOUT: 'stale',
  ECONNABORTED: 'stale',
  ECONNRESET: 'stale',
}

/** By the code of a file system's error. */
export const faultKindOf = (code: string | undefined): FaultKind =>
  (code !== undefined && kindOfCode[code]) || 'failed'

/** @param detail what the operating system said, or a figure */
export function describeFault(kind: FaultKind, path: string, detail = ''): FolderFault {
  return { kind, text: sentences[kind](path, detail) }
}

const sentences: Record<FaultKind, (path: string, detail: string) => string> = {
  hung: path =>
    `The shared folder ${path} does not answer: the file server or the way to it is down. Bring it back; nothing else is needed, the mount recovers by itself.`,
  full: (path, detail) =>
    `The shared folder ${path} is full${inBrackets(detail)}: make room on the file server. Until then segments stay in this server’s own spool only.`,
  'read-only': path =>
    `The shared folder ${path} is mounted read-only: mount it with the option rw, and look at the file server’s own disk.`,
  forbidden: (path, detail) =>
    `Keepwatch may not write in the shared folder ${path}${inBrackets(detail)}: give the user that it runs as the right to, on the file server too (with NFS see no_root_squash).`,
  missing: path =>
    `The shared folder ${path} is not there: mount it, on both servers under the same path.`,
  'not-mounted': path =>
    `At ${path} lies a folder without Keepwatch’s marker file: the shared folder is not mounted. Mount it; if it is a new one, prepare it under Settings, Failover.`,
  'not-ours': path =>
    `The shared folder ${path} belongs to another Keepwatch deployment: choose an empty folder of its own.`,
  stale: (path, detail) =>
    `The mount of the shared folder ${path} is dead${inBrackets(detail)}: unmount it with umount -l and mount it again.`,
  failed: (path, detail) =>
    `The shared folder ${path} answers with an error${inBrackets(detail)}: look at the file server’s log.`,
  'process-failed': (path, detail) =>
    `The process that works in the shared folder ${path} ended by itself${inBrackets(detail)}: it is started again.`,
}

function inBrackets(detail: string): string {
  return detail === '' ? '' : ` (${detail})`
}
