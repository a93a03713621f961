/** The active's side: what its files are, and the files. */
import { createHash } from 'node:crypto'
import { realpath } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { z } from 'zod'
import type { Clock } from '../../lib/clock.ts'
import type { Tally } from '../../lib/tally.ts'
import { limits, type Manifest } from './manifest.ts'
import { answering, type Route, RouteRefusal, sendJson } from './route.ts'
import { createScanner, openInside, type Root, RootUnreadable, type Scanner } from './scan.ts'

export const filesPath = '/link/v1/files'
/** With the manifest's request the standby says how far it is. */
export const progressHeader = 'keepwatch-files-progress'

const standbyProgress = z.object({
  server: z.string().max(255),
  files: z.number().int().nonnegative(),
  bytes: z.number().nonnegative(),
  behindFiles: z.number().int().nonnegative(),
  behindBytes: z.number().nonnegative(),
  /** Since it was last in step; null: it has not been yet. */
  lagMs: z.number().nonnegative().nullable(),
  lastError: z.string().max(500).nullable(),
})

/** How far the standby is, in its own words. */
export type StandbyProgress = z.output<typeof standbyProgress>

export interface FileService {
  readonly route: Route
  /** What the standby said last, and when (ms since 1970). */
  heard(): { progress: StandbyProgress; at: number } | undefined
  /** Files and bytes of the last manifest. */
  announced(): { files: number; bytes: number }
}

/** Without a byte taken for so long, a transfer is over. */
const idleMs = 30_000

export function createFileService(
  deps: {
    clock: Clock
    tally: Pick<Tally<'root-unreadable' | 'bad-progress' | 'transfer-failed'>, 'count'>
    /** While this server is active. */
    term(): number | undefined
  },
  config: { server: string; roots: readonly Root[] },
): FileService {
  const { clock, tally } = deps
  const scanners = config.roots.map((root): { root: Root; scanner: Scanner } => ({
    root,
    scanner: createScanner({ ...root, missing: 'error' }),
  }))
  let scanning: Promise<Manifest['roots']> | undefined
  /** Where the announced contents are. */
  let places = new Map<string, { root: Root; path: string; size: number }>()
  let announced = { files: 0, bytes: 0 }
  let heard: { progress: StandbyProgress; at: number } | undefined

  function rootsNow(): Promise<Manifest['roots']> {
    scanning ??= scanAll().finally(() => {
      scanning = undefined
    })
    return scanning
  }

  async function scanAll(): Promise<Manifest['roots']> {
    const roots: Manifest['roots'] = []
    const found: typeof places = new Map()
    let files = 0
    let bytes = 0
    for (const { root, scanner } of scanners) {
      try {
        const entries = await scanner.scan()
        roots.push({ name: root.name, files: entries })
        for (const { path, sha256, size } of entries) {
          found.set(sha256, { root, path, size })
          files++
          bytes += size
        }
      } catch (error) {
        if (!(error instanceof RootUnreadable)) throw error
        // Not announced, it stays on the standby as it is.
        tally.count('root-unreadable', () => ({ error: error.message }))
      }
    }
    places = found
    announced = { files, bytes }
    return roots
  }

  async function sendManifest(response: ServerResponse, known: string | undefined) {
    const term = activeTerm()
    const roots = await rootsNow()
    const version = createHash('sha256').update(JSON.stringify(roots)).digest('hex')
    const tag = `"${term}-${version}"`
    if (known === tag) {
      response.writeHead(304, { etag: tag })
      response.end()
      return
    }
    response.setHeader('etag', tag)
    sendJson(response, 200, { server: config.server, term, version, roots } satisfies Manifest)
  }

  async function sendFile(response: ServerResponse, sha256: string, from: number) {
    activeTerm()
    const place = places.get(sha256)
    if (place === undefined || from > place.size) throw changed(sha256)
    const root = await realpath(place.root.folder)
    const handle = await openInside(root, place.path)
    if (handle === undefined) throw changed(sha256)
    try {
      const { size } = await handle.stat()
      if (size !== place.size) throw changed(sha256)
      response.writeHead(from > 0 ? 206 : 200, {
        'content-type': 'application/octet-stream',
        'content-length': size - from,
        ...(from > 0 ? { 'content-range': `bytes ${from}-${size - 1}/${size}` } : {}),
      })
      if (size === from) {
        response.end()
        return
      }
      response.setTimeout(idleMs, () => response.destroy())
      const reading = handle.createReadStream({ start: from, end: size - 1, autoClose: false })
      await pipeline(reading, response)
    } catch (error) {
      if (error instanceof RouteRefusal || !response.headersSent) throw error
      tally.count('transfer-failed', () => ({ error: (error as Error).message }))
    } finally {
      await handle.close()
    }
  }

  function activeTerm(): number {
    const term = deps.term()
    if (term === undefined) {
      throw new RouteRefusal(409, `${config.server} is not active: ask the other server`)
    }
    return term
  }

  function hear(text: string | string[] | undefined) {
    if (typeof text !== 'string') return
    try {
      const progress = standbyProgress.parse(JSON.parse(text))
      heard = { progress, at: clock.wall() }
    } catch (error) {
      tally.count('bad-progress', () => ({ error: (error as Error).message.slice(0, 500) }))
    }
  }

  return {
    heard: () => heard,
    announced: () => announced,
    route: {
      method: 'GET',
      prefix: filesPath,
      role: 'server',
      answer: (request, response) =>
        answering(response, async () => {
          const { url = '', headers } = request
          const rest = url.slice(filesPath.length)
          if (rest === '') {
            hear(headers[progressHeader])
            return sendManifest(response, headers['if-none-match'])
          }
          const [, sha256] = /^\/([0-9a-f]{64})$/.exec(rest) ?? []
          if (sha256 === undefined) throw new RouteRefusal(404, 'a file is named by its SHA-256')
          return sendFile(response, sha256, beginOf(headers.range))
        }),
    },
  }
}

function changed(sha256: string): RouteRefusal {
  return new RouteRefusal(404, `${sha256} is not announced any more: ask for the manifest again`)
}

/** The first byte that is wanted. */
function beginOf(range: string | undefined): number {
  if (range === undefined) return 0
  const [, begin] = /^bytes=(\d{1,12})-$/.exec(range) ?? []
  if (begin === undefined || Number(begin) > limits.fileBytes) {
    throw new RouteRefusal(416, 'a range must look like bytes=<first>-')
  }
  return Number(begin)
}
