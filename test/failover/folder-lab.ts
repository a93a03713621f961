/** Shared folders that hang, fill up, turn read-only and go away; real mounts where it takes root. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSharedFolder, type SharedFolder } from '../../src/failover/folder/folder.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createLog } from '../../src/lib/log.ts'
import { createMetrics } from '../../src/lib/metrics.ts'

export const isRoot = process.getuid?.() === 0
const sftpServer = '/usr/lib/openssh/sftp-server'
export const hasSshfs =
  isRoot &&
  existsSync('/dev/fuse') &&
  existsSync(sftpServer) &&
  spawnSync('sshfs', ['--version']).status === 0

export const deployment = 'd'.repeat(32)

export function base() {
  const metrics = createMetrics({ server: 'a' })
  return { log: createLog({ level: 'silent', part: 'test' }), metrics, clock: systemClock }
}

export interface FolderLab {
  dir: string
  /** A folder of that name with the marker in it. */
  folder(name: string): string
  /** The folder's server, as it is started on one machine. */
  shared(
    path: string | null,
    more?: Partial<Parameters<typeof createSharedFolder>[1]>,
  ): SharedFolder
  tmpfs(name: string, options: string): string
  /** A folder of another process, which can be made to hang. */
  sshfs(name: string): Promise<Sshfs>
  close(): Promise<void>
}

export interface Sshfs {
  path: string
  /** Behind the mount. */
  behind: string
  hang(): void
  recover(): void
  /** Its server dies, and the mount with it. */
  die(): Promise<void>
}

export function mark(folder: string) {
  const text = JSON.stringify({ keepwatch: 1, deployment })
  writeFileSync(join(folder, '.keepwatch.json'), text)
}

export function createFolderLab(): FolderLab {
  const dir = mkdtempSync(join(tmpdir(), 'keepwatch-folder-'))
  const started: SharedFolder[] = []
  const ends: (() => Promise<void>)[] = []
  return {
    dir,
    folder(name) {
      const path = join(dir, name)
      mkdirSync(path, { recursive: true })
      mark(path)
      return path
    },
    shared(path, more = {}) {
      const shared = createSharedFolder(base(), {
        server: 'a',
        incarnation: 'i',
        deployment,
        path,
        probeMs: 100,
        answerMs: 1500,
        reserveBytes: 1024 * 1024,
        ...more,
      })
      started.push(shared)
      return shared
    },
    tmpfs(name, options) {
      const path = join(dir, name)
      mkdirSync(path, { recursive: true })
      run('mount', '-t', 'tmpfs', '-o', options, 'tmpfs', path)
      ends.push(async () => void spawnSync('umount', ['-l', path]))
      return path
    },
    async sshfs(name) {
      const mounted = await mountSshfs(dir, name)
      ends.push(mounted.end)
      return mounted
    },
    async close() {
      await Promise.all(started.map(shared => shared.stop()))
      for (const end of ends.reverse()) await end()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

async function mountSshfs(dir: string, name: string): Promise<Sshfs & { end(): Promise<void> }> {
  const path = join(dir, name)
  const behind = join(dir, `${name}-behind`)
  const pidFile = join(dir, `${name}.pid`)
  const command = join(dir, `${name}.sh`)
  mkdirSync(path)
  mkdirSync(behind)
  mark(behind)
  writeFileSync(command, `#!/bin/sh\necho $$ > ${pidFile}\nexec ${sftpServer}\n`)
  chmodSync(command, 0o755)
  const options = `ssh_command=${command},cache=no,attr_timeout=0,entry_timeout=0`
  const fuse: ChildProcess = spawn('sshfs', ['-f', '-o', options, `nowhere:${behind}`, path], {
    stdio: 'ignore',
  })
  const ended = new Promise<void>(resolve => fuse.once('exit', () => resolve()))
  await until('the mount', () => existsSync(join(path, '.keepwatch.json')))
  const server = Number(readFileSync(pidFile, 'utf8'))
  const signal = (what: NodeJS.Signals) => {
    try {
      process.kill(server, what)
    } catch {
      // It has ended.
    }
  }
  return {
    path,
    behind,
    hang: () => signal('SIGSTOP'),
    recover: () => signal('SIGCONT'),
    async die() {
      fuse.kill('SIGKILL')
      await ended
      signal('SIGKILL')
    },
    async end() {
      signal('SIGCONT')
      spawnSync('umount', ['-l', path])
      fuse.kill('SIGKILL')
      signal('SIGKILL')
      await ended
    },
  }
}

export function run(program: string, ...args: string[]) {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`)
}

/** Waits until `check` is true; the deadline says what was waited for, and what was seen. */
export async function until(
  what: string,
  check: () => boolean | Promise<boolean>,
  seen: () => unknown = () => '',
  ms = 60_000,
) {
  const deadline = performance.now() + ms
  while (!(await check())) {
    if (performance.now() > deadline) {
      throw new Error(`${what}: not within ${ms} ms: ${JSON.stringify(seen())}`)
    }
    await sleep(20)
  }
}

/** Every file under a folder, by its path in it. */
export function filesUnder(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort()
}
