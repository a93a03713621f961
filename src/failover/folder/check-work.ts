/** What is asked of a folder before it is the shared one; runs in the folder's own process. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { open, readdir, readFile, rename, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { isAbsent, readIfThere, removeIfThere, syncFolder, writeDurably } from './durable.ts'
import { FolderUnusable } from './fault.ts'
import { mountOf } from './mount.ts'
import { areas, isTemporary, type Marker, markerFile, parseMarker, temporaryName } from './place.ts'
import type { FolderWork } from './protocol.ts'

type CheckName = 'inspect' | 'prepare' | 'exercise' | 'readCheck' | 'removeCheck'

export type CheckWork = {
  [Name in CheckName]: (ask: FolderWork[Name]['ask']) => Promise<FolderWork[Name]['answer']>
}

const gitMs = 5000
const checkForm = /^\.keepwatch-check-[0-9a-f-]{36}-[a-z0-9-]{1,16}$/
const maxStrangers = 10

export function createCheckWork(config: { writer: string }): CheckWork {
  const { writer } = config
  return {
    async inspect({ path, dataDir, git }) {
      const found = await stat(path).catch(error => {
        if (isAbsent(error)) return undefined
        throw error
      })
      const isFolder = found?.isDirectory() === true
      const device = async (of: string) => (await stat(of).catch(() => undefined))?.dev
      const mountinfo = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '')
      const names = isFolder ? await readdir(path) : []
      const known: readonly string[] = [markerFile, 'lost+found', ...areas]
      const strangers = names.filter(
        name => !known.includes(name) && !checkForm.test(name) && !isTemporary(name),
      )
      const marker = isFolder ? await readIfThere(join(path, markerFile)) : null
      const free = isFolder ? await statfs(path) : undefined
      return {
        exists: found !== undefined,
        folder: isFolder,
        mount: mountOf(path, mountinfo),
        onRootDisk: isFolder && (await device('/')) === found.dev,
        onDataDisk: isFolder && (await device(dataDir)) === found.dev,
        strangers: strangers.slice(0, maxStrangers),
        deployment:
          marker === null ? undefined : (parseMarker(marker.toString())?.deployment ?? '?'),
        freeBytes: free === undefined ? 0 : free.bavail * free.bsize,
        git: git ? await gitVersion() : undefined,
      }
    },
    async prepare({ path, deployment: owner }) {
      const marker = await readIfThere(join(path, markerFile))
      if (marker !== null) {
        if (parseMarker(marker.toString())?.deployment === owner) return 'ours'
        throw new FolderUnusable('not-ours', 'the marker file names another deployment')
      }
      const text = `${JSON.stringify({ keepwatch: 1, deployment: owner } satisfies Marker)}\n`
      await writeDurably(join(path, markerFile), Buffer.from(text), writer)
      return 'prepared'
    },
    async exercise({ path, name, bytes }) {
      const file = checkFile(path, name)
      const draft = join(path, temporaryName(name, writer))
      const began = performance.now()
      const startedMs = Date.now()
      await writeDurably(file, Buffer.from('before'), writer)
      const handle = await open(draft, 'wx', 0o640)
      let synced = true
      try {
        await handle.writeFile(bytes)
        await handle.sync().catch(() => {
          synced = false
        })
      } finally {
        await handle.close()
      }
      const renamed = await rename(draft, file).then(
        () => true,
        () => false,
      )
      if (!renamed) await removeIfThere(draft)
      await syncFolder(path)
      const latencyMs = performance.now() - began
      const back = await readFile(file)
      const { mtimeMs } = await stat(file)
      return {
        sha256: createHash('sha256').update(bytes).digest('hex'),
        same: back.equals(bytes),
        renamed,
        synced,
        clockAheadMs: Math.round(mtimeMs - (startedMs + latencyMs / 2)),
        latencyMs,
      }
    },
    async readCheck({ path, name }) {
      const bytes = await readFile(checkFile(path, name))
      return { sha256: createHash('sha256').update(bytes).digest('hex') }
    },
    async removeCheck({ path, name }) {
      await removeIfThere(checkFile(path, name))
      return null
    },
  }
}

/** Another server names the file; it is one of those that a check writes, and no other. */
function checkFile(path: string, name: string): string {
  if (!checkForm.test(name)) throw new Error(`no name of a check’s file: ${name}`)
  return join(path, name)
}

async function gitVersion(): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)('git', ['--version'], { timeout: gitMs, cwd: '/' })
    return stdout.trim()
  } catch {
    return undefined
  }
}
