/** What is done in the shared folder, request by request; runs in the folder's own process. */
import { readdir, readFile, rmdir, stat, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createCheckWork } from './check-work.ts'
import { isAbsent, readIfThere, removeIfThere, writeDurably } from './durable.ts'
import { FolderUnusable } from './fault.ts'
import {
  areas,
  isCollector,
  isKind,
  isTemporary,
  markerFile,
  parseMarker,
  type SegmentPlace,
  segmentPath,
  segmentSequence,
} from './place.ts'
import type { FolderOpening, FolderWork, SpoolCopyState } from './protocol.ts'
import { openRepository, type Repository } from './repository.ts'
import { createSpoolCopy, type SpoolCopy } from './spool-copy.ts'

type Does = {
  [Name in keyof FolderWork]: (ask: FolderWork[Name]['ask']) => Promise<FolderWork[Name]['answer']>
}

/** What lies half written for so long, by the file server's clock, nobody will finish. */
const staleMs = 3_600_000

export function createFolderWork(
  deps: { hung(): void },
  config: FolderOpening & { writer: string },
): { does: Does; spool(): SpoolCopyState | undefined } {
  const { path: root, deployment, server, incarnation, writer } = config
  const at = (path: string) => join(root, path)
  let copy: SpoolCopy | undefined
  let repository: Repository | undefined
  let term: number | undefined
  /** What the file server's clock is ahead of this host's. */
  let aheadMs = 0

  /** @throws FolderUnusable unless the folder is there, and the one of this deployment */
  async function verify() {
    let text: string
    try {
      text = await readFile(at(markerFile), 'utf8')
    } catch (error) {
      if (!isAbsent(error)) throw error
      const there = await stat(root).then(
        found => found.isDirectory(),
        cause => {
          if (isAbsent(cause)) return false
          throw cause
        },
      )
      throw new FolderUnusable(there ? 'not-mounted' : 'missing', 'there is no marker file')
    }
    if (parseMarker(text)?.deployment !== deployment) {
      throw new FolderUnusable('not-ours', 'the marker file names another deployment')
    }
  }

  async function probe() {
    await verify()
    const began = performance.now()
    const own = `servers/${server}.json`
    const sentMs = Date.now()
    const text = `${JSON.stringify({ server, incarnation, at: new Date(sentMs) })}\n`
    await writeDurably(at(own), Buffer.from(text), writer)
    const latencyMs = performance.now() - began
    const writers: Record<string, number> = {}
    for (const name of await readdir(at('servers'))) {
      if (isTemporary(name) || !name.endsWith('.json')) continue
      const found = await stat(at(join('servers', name))).catch(() => undefined)
      if (found !== undefined) writers[name.slice(0, -'.json'.length)] = found.mtimeMs
    }
    // The file got its time somewhere between its opening and its end.
    aheadMs = (writers[server] ?? sentMs) - (sentMs + latencyMs / 2)
    const { bavail, blocks, bsize } = await statfs(root)
    return {
      freeBytes: bavail * bsize,
      totalBytes: blocks * bsize,
      latencyMs,
      clockAheadMs: Math.round(aheadMs),
      writers,
    }
  }

  async function list(
    path: string,
    limit: number,
    depth = 2,
  ): Promise<FolderWork['list']['answer']> {
    const files: FolderWork['list']['answer'] = []
    const entries = await readdir(at(path), { withFileTypes: true }).catch(error => {
      if (isAbsent(error)) return []
      throw error
    })
    for (const entry of entries) {
      if (files.length >= limit) break
      const inside = `${path}/${entry.name}`
      if (entry.isDirectory() && depth > 1) {
        files.push(...(await list(inside, limit - files.length, depth - 1)))
      } else if (entry.isFile() && !isTemporary(entry.name)) {
        const found = await stat(at(inside)).catch(() => undefined)
        if (found) files.push({ path: inside, bytes: found.size, modifiedMs: found.mtimeMs })
      }
    }
    return files
  }

  async function segments(limit: number): Promise<SegmentPlace[]> {
    const places: SegmentPlace[] = []
    for (const collector of (await namesIn('spool')).filter(isCollector)) {
      for (const kind of (await namesIn(`spool/${collector}`)).filter(isKind)) {
        const sequences = (await namesIn(`spool/${collector}/${kind}`))
          .map(segmentSequence)
          .filter(sequence => sequence !== undefined)
          .sort((a, b) => a - b)
        for (const sequence of sequences) {
          if (places.length >= limit) return places
          places.push({ collector, kind, sequence })
        }
      }
    }
    return places
  }

  async function namesIn(path: string): Promise<string[]> {
    return readdir(at(path)).catch(error => {
      if (isAbsent(error)) return []
      throw error
    })
  }

  async function sweep() {
    let removed = 0
    const before = Date.now() + aheadMs - staleMs
    for (const area of areas) {
      const entries = await readdir(at(area), { recursive: true, withFileTypes: true }).catch(
        () => [],
      )
      for (const entry of entries) {
        if (!entry.isFile() || !isTemporary(entry.name)) continue
        const file = join(entry.parentPath, entry.name)
        const found = await stat(file).catch(() => undefined)
        if (found === undefined || found.mtimeMs > before) continue
        await removeIfThere(file)
        removed++
      }
    }
    return { removed }
  }

  const does: Does = {
    probe,
    async read({ path, maxBytes }) {
      await verify()
      const found = await stat(at(path)).catch(error => {
        if (isAbsent(error)) return undefined
        throw error
      })
      if (found === undefined) return null
      if (found.size > maxBytes) {
        throw new FolderUnusable('damaged', `${path} has ${found.size} bytes, at most ${maxBytes}`)
      }
      return readIfThere(at(path))
    },
    async write({ path, bytes }) {
      await verify()
      await writeDurably(at(path), bytes, writer)
      return null
    },
    async remove({ path }) {
      await verify()
      await removeIfThere(at(path))
      return null
    },
    async list({ path, limit }) {
      await verify()
      return list(path, limit)
    },
    async segments({ limit }) {
      await verify()
      return segments(limit)
    },
    async removeSegment(place) {
      await verify()
      const file = at(segmentPath(place))
      await removeIfThere(file)
      // Its folders too, once they are empty.
      await rmdir(dirname(file)).catch(() => {})
      await rmdir(dirname(dirname(file))).catch(() => {})
      return null
    },
    async sweep() {
      await verify()
      return sweep()
    },
    async copySpool({ spool, reserveBytes }) {
      if (copy !== undefined) throw new Error('a spool is copied already')
      copy = createSpoolCopy(
        { verify, hung: deps.hung },
        { spool, folder: root, writer, reserveBytes },
      )
      copy.start()
      return null
    },
    async openRepository(asked) {
      await verify()
      term = asked.term
      repository = undefined
      repository = await openRepository(at('mirror'), { ...asked, server, incarnation, writer })
      return repository.head
    },
    async commit({ commits }) {
      await verify()
      if (repository === undefined) throw new Error(`the mirror was not opened in term ${term}`)
      try {
        await repository.commit(commits)
      } catch (error) {
        // Nobody knows where it stands: it is to be opened again.
        repository = undefined
        throw error
      }
      return null
    },
    ...createCheckWork({ writer }),
  }

  return { does, spool: () => copy?.state() }
}
