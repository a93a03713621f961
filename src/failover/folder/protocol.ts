/** What the process that works in the shared folder and its parent say to each other over IPC. */
import type { FaultKind } from './fault.ts'
import type { SegmentPlace } from './place.ts'
import type { Commit, RepositoryHead } from './repository.ts'

/** What is said first. */
export interface FolderOpening {
  /** Where the folder is mounted. */
  path: string
  deployment: string
  server: string
  incarnation: string
}

/** Requests by name: what is asked and what is answered. */
export interface FolderWork {
  /** Writes this server's file, reads everybody's, and measures. */
  probe: { ask: object; answer: Probe }
  /** The whole file, or null if there is none. */
  read: { ask: { path: string; maxBytes: number }; answer: Uint8Array | null }
  /** Temp, fsync, rename, fsync of the folder. */
  write: { ask: { path: string; bytes: Uint8Array }; answer: null }
  remove: { ask: { path: string }; answer: null }
  /** Files of a folder and of those in it, without temporary ones; at most `limit`. */
  list: { ask: { path: string; limit: number }; answer: ListedFile[] }
  segments: { ask: { limit: number }; answer: SegmentPlace[] }
  removeSegment: { ask: SegmentPlace; answer: null }
  /** Removes what writers that are gone left half written. */
  sweep: { ask: object; answer: { removed: number } }
  /** Keeps the folder's copy of a local spool; what it does is reported. */
  copySpool: { ask: { spool: string; reserveBytes: number }; answer: null }
  openRepository: { ask: { term: number; alone: boolean }; answer: RepositoryHead }
  commit: { ask: { commits: Commit[] }; answer: null }
  /** What a folder is, before it is one of Keepwatch's. */
  inspect: { ask: { path: string; dataDir: string; git: boolean }; answer: Inspection }
  /** Writes the marker into an empty folder. */
  prepare: { ask: { path: string; deployment: string }; answer: 'prepared' | 'ours' }
  /** Writes a file, reads and compares it, renames it. */
  exercise: { ask: { path: string; name: string; bytes: Uint8Array }; answer: Exercise }
  readCheck: { ask: { path: string; name: string }; answer: { sha256: string } }
  removeCheck: { ask: { path: string; name: string }; answer: null }
}

export type FolderOrder =
  | { type: 'open'; opening: FolderOpening }
  | {
      [Name in keyof FolderWork]: {
        type: 'ask'
        id: number
        what: Name
        ask: FolderWork[Name]['ask']
      }
    }[keyof FolderWork]

export type FolderReport =
  | { type: 'ready' }
  | { type: 'answer'; id: number; answer: unknown }
  | { type: 'failure'; id: number; failure: FailureReport }
  | { type: 'spool'; spool: SpoolCopyState }
  /** Something that nobody asked for has not come back. */
  | { type: 'hung' }

export interface FailureReport {
  /** What it means for the folder; undefined if it says nothing about it. */
  fault: FaultKind | undefined
  /** What it means for who asked. */
  kind: 'absent' | 'superseded' | 'damaged' | 'failed'
  message: string
}

export interface Probe {
  freeBytes: number
  totalBytes: number
  /** For one file: written, synced, renamed. */
  latencyMs: number
  /** What the file server's clock is ahead of this host's, ms; negative if it is behind. */
  clockAheadMs: number
  /** When each server last wrote, ms since 1970 by the file server's clock. */
  writers: Record<string, number>
}

export interface ListedFile {
  /** In the folder. */
  path: string
  bytes: number
  /** Ms since 1970 by the file server's clock. */
  modifiedMs: number
}

/** The shared folder's copy of this server's own spool. */
export interface SpoolCopyState {
  /** Identity of the spool; undefined until it has one. */
  collector: string | undefined
  /** Sealed and not in the shared folder. */
  waiting: number
  /** Age of the oldest of them, ms. */
  lagMs: number
  /** Since the process started. */
  copied: number
  copiedBytes: number
  removed: number
  /** What the last attempt failed with. */
  fault: FaultKind | undefined
  error: string | undefined
}

/** What stands in `/proc/self/mountinfo` of the mount that a path lies on. */
export interface Mount {
  point: string
  /** `nfs4` */
  type: string
  /** `nas.example.net:/keepwatch` */
  source: string
}

export interface Inspection {
  exists: boolean
  folder: boolean
  mount: Mount | undefined
  /** On the same device as the root file system, or as Keepwatch's data. */
  onRootDisk: boolean
  onDataDisk: boolean
  /** Names in it that are not Keepwatch's; the first ten. */
  strangers: string[]
  deployment: string | undefined
  freeBytes: number
  /** Undefined: there is no program git. */
  git: string | undefined
}

export interface Exercise {
  sha256: string
  /** The file that was read back is the one that was written. */
  same: boolean
  /** A rename replaced a file in one step. */
  renamed: boolean
  synced: boolean
  clockAheadMs: number
  latencyMs: number
}
