/** The shared folder as it is and as it fails: nothing of the server ever waits for it. */
import { randomUUID } from 'node:crypto'
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { SharedFolder } from '../../src/failover/folder/folder.ts'
import {
  createFolderLab,
  type FolderLab,
  filesUnder,
  hasSshfs,
  isRoot,
  mark,
  run,
  until,
} from './folder-lab.ts'

vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 })

let lab: FolderLab
beforeEach(() => {
  lab = createFolderLab()
})
afterEach(() => lab.close())

const usable = (folder: SharedFolder) =>
  until(
    'the folder is usable',
    () => folder.state().usable,
    () => folder.state(),
  )
const fault = (folder: SharedFolder, kind: string) =>
  until(
    `the fault ${kind}`,
    () => folder.state().fault?.kind === kind,
    () => folder.state(),
  )

/** The longest that the main loop stood still while something was done. */
async function stillness(work: () => Promise<void>): Promise<number> {
  let longest = 0
  let last = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
  }, 5)
  await work()
  clearInterval(timer)
  return longest
}

describe('a shared folder', () => {
  test('says how it is, and who wrote there when', async () => {
    const path = lab.folder('shared')
    const a = lab.shared(path)
    const b = lab.shared(path, { server: 'b' })
    await a.start()
    await b.start()
    await usable(a)
    await until('b has been seen', () => 'b' in a.state().lastWrittenBy)
    const { freeBytes, latencyMs, clockAheadMs, lastWrittenBy, fault } = a.state()
    expect(fault).toBeNull()
    expect(freeBytes).toBeGreaterThan(0)
    expect(latencyMs).toBeGreaterThan(0)
    expect(Math.abs(clockAheadMs!)).toBeLessThan(5000)
    expect(Math.abs(Date.now() - lastWrittenBy.b!.getTime())).toBeLessThan(10_000)
  })

  test('keeps reports by term, whole or not at all, and refuses what rotted', async () => {
    const path = lab.folder('shared')
    const folder = lab.shared(path)
    await folder.start()
    await usable(folder)
    const { files } = folder
    await files.write('reports', 3, 'drill.json', Buffer.from('first'))
    await files.write('reports', 3, 'drill.json', Buffer.from('second'))
    const newest = await files.write('reports', 4, 'drill.json', Buffer.from('third'))
    await files.write('reports', 4, 'other.pdf', Buffer.alloc(3_000_000, 7))
    expect(filesUnder(join(path, 'reports'))).toHaveLength(3)
    const listed = await files.list('reports')
    expect(listed.map(({ name, term }) => `${name} ${term}`).sort()).toEqual([
      'drill.json 4',
      'other.pdf 4',
    ])
    expect((await files.read(newest)).toString()).toBe('third')
    writeFileSync(join(path, newest.path), 'thirst')
    await expect(files.read(newest)).rejects.toMatchObject({ kind: 'damaged' })
    await files.remove(newest)
    await expect(files.read(newest)).rejects.toMatchObject({ kind: 'absent' })
  })

  test('does nothing without a path, and begins when a person sets one', async () => {
    const folder = lab.shared(null)
    await folder.start()
    expect(folder.state()).toMatchObject({ path: null, usable: false, fault: null })
    await expect(folder.files.list('reports')).rejects.toMatchObject({ kind: 'off' })
    folder.use(lab.folder('shared'))
    await usable(folder)
    folder.use(null)
    expect(folder.state().usable).toBe(false)
  })

  test('writes nothing into a folder that is not the one it should be', async () => {
    const bare = join(lab.dir, 'bare')
    mkdirSync(bare)
    const folder = lab.shared(bare)
    await folder.start()
    await fault(folder, 'not-mounted')
    await expect(folder.files.write('reports', 1, 'x', Buffer.from('x'))).rejects.toMatchObject({
      kind: 'not-mounted',
    })
    expect(readdirSync(bare)).toEqual([])
    folder.use(join(lab.dir, 'nowhere'))
    await fault(folder, 'missing')
    expect(folder.state().fault!.text).toContain('mount it, on both servers')
    const others = lab.folder('others')
    writeFileSync(join(others, '.keepwatch.json'), '{"keepwatch":1,"deployment":"other"}')
    folder.use(others)
    await fault(folder, 'not-ours')
  })

  test('puts another process in the place of one that was killed', async () => {
    const folder = lab.shared(lab.folder('shared'))
    await folder.start()
    await usable(folder)
    const [pid] = folderProcesses()
    process.kill(pid!, 'SIGKILL')
    await fault(folder, 'process-failed')
    await usable(folder)
  })
})

/** Processes of shared folders that this one has started. */
function folderProcesses(): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number)
    .filter(pid => {
      try {
        const parent = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
        return Number(parent) === process.pid && command.includes('folder-process')
      } catch {
        return false
      }
    })
}

describe.skipIf(!isRoot)('a shared folder on a mount of its own (needs root)', () => {
  test('that is full is an alarm, and is used again when there is room', async () => {
    const path = lab.tmpfs('small', 'size=4m')
    mark(path)
    const folder = lab.shared(path)
    await folder.start()
    await usable(folder)
    const filler = join(path, 'filler')
    writeFileSync(filler, Buffer.alloc(3_600_000))
    await fault(folder, 'full')
    await expect(
      folder.files.write('reports', 1, 'x', Buffer.alloc(2_000_000)),
    ).rejects.toMatchObject({ kind: 'full' })
    expect(filesUnder(join(path)).filter(name => name.includes('reports'))).toEqual([])
    rmSync(filler)
    await usable(folder)
  })

  test('that is mounted read-only is an alarm until it can be written again', async () => {
    const path = lab.tmpfs('small', 'size=8m')
    mark(path)
    const folder = lab.shared(path)
    await folder.start()
    await usable(folder)
    await until('nobody writes', () => {
      try {
        run('mount', '-o', 'remount,ro', path)
        return true
      } catch {
        return false
      }
    })
    await fault(folder, 'read-only')
    run('mount', '-o', 'remount,rw', path)
    await usable(folder)
  })

  test('that was unmounted is not written to where it was', async () => {
    const path = lab.tmpfs('small', 'size=8m')
    mark(path)
    const folder = lab.shared(path)
    await folder.start()
    await usable(folder)
    run('umount', '-l', path)
    await fault(folder, 'not-mounted')
    expect(readdirSync(path)).toEqual([])
  })
})

describe.skipIf(!hasSshfs)('a shared folder over sshfs (needs root, FUSE and sshfs)', () => {
  test('that hangs costs nothing but its process, and is used again when it answers', async () => {
    const mounted = await lab.sshfs('shared')
    const folder = lab.shared(mounted.path)
    await folder.start()
    await usable(folder)
    mounted.hang()
    const longest = await stillness(async () => {
      const writing = folder.files.write('reports', 1, 'x', Buffer.from('x'))
      await expect(writing).rejects.toMatchObject({ kind: 'hung' })
      await fault(folder, 'hung')
      await expect(folder.files.list('reports')).rejects.toMatchObject({ kind: 'hung' })
      await until('a second one hangs', () => folder.state().abandoned >= 2)
    })
    expect(longest, 'the main loop went on').toBeLessThan(1000)
    expect(folder.state().fault!.text).toContain('does not answer')
    mounted.recover()
    await usable(folder)
    await until('the abandoned ones ended', () => folder.state().abandoned === 0)
  })

  test('is let go of at once by a server that stops', async () => {
    const mounted = await lab.sshfs('shared')
    const folder = lab.shared(mounted.path)
    await folder.start()
    await usable(folder)
    mounted.hang()
    await fault(folder, 'hung')
    const began = performance.now()
    await folder.stop()
    expect(performance.now() - began).toBeLessThan(10_000)
    mounted.recover()
    await until('its processes are gone', () => folderProcesses().length === 0)
  })

  test('whose server died says that the mount is dead', async () => {
    const mounted = await lab.sshfs('shared')
    const folder = lab.shared(mounted.path)
    await folder.start()
    await usable(folder)
    await mounted.die()
    await fault(folder, 'stale')
    expect(folder.state().fault!.text).toContain('umount -l')
  })
})

describe('the copy of the spool', () => {
  const collector = randomUUID()

  function spoolFolder() {
    const spool = join(lab.dir, 'spool')
    for (const kind of ['flow', 'syslog', 'trap', 'quarantine']) {
      mkdirSync(join(spool, kind), { recursive: true })
    }
    writeFileSync(join(spool, 'id'), `${collector} flow\n`)
    return {
      spool,
      seal(kind: string, sequence: number, text: string) {
        const file = join(spool, kind, `${String(sequence).padStart(12, '0')}.seg`)
        // As a segment begins: its header differs where its content does.
        writeFileSync(`${file}.tmp`, text)
        renameSync(`${file}.tmp`, file)
      },
      deliver(kind: string, sequence: number) {
        rmSync(join(spool, kind, `${String(sequence).padStart(12, '0')}.seg`))
      },
    }
  }

  const copies = (path: string) =>
    filesUnder(join(path, 'spool', collector)).filter(name => name.endsWith('.segment'))

  test('has what was sealed a moment later, and no longer what was delivered', async () => {
    const path = lab.folder('shared')
    const { spool, seal, deliver } = spoolFolder()
    seal('flow', 0, 'zero')
    const folder = lab.shared(path, { spool })
    await folder.start()
    await until('the first copy', () => folder.state().spool?.copied === 1, folder.state)
    const times: number[] = []
    for (let sequence = 1; sequence <= 10; sequence++) {
      const began = performance.now()
      seal('flow', sequence, `flow ${sequence}`)
      const copy = join(path, 'spool', collector, 'flow', `00000000000${sequence}.segment`)
      if (sequence < 10) {
        await until('the copy', () =>
          filesUnder(join(path, 'spool')).includes(copy.slice(path.length + 7)),
        )
        times.push(performance.now() - began)
      }
    }
    console.log(`sealed → in the shared folder, ms: ${times.map(Math.round).join(' ')}`)
    expect(Math.min(...times)).toBeLessThan(250)
    seal('trap', 5, 'a trap')
    await until(
      'all copies',
      () => copies(path).length === 12,
      () => copies(path),
    )
    expect(
      readFileSync(join(path, 'spool', collector, 'trap', '000000000005.segment'), 'utf8'),
    ).toBe('a trap')
    for (let sequence = 0; sequence < 10; sequence++) deliver('flow', sequence)
    await until(
      'the removals',
      () => copies(path).length === 2,
      () => copies(path),
    )
    expect(copies(path)).toEqual(['flow/000000000010.segment', 'trap/000000000005.segment'])
    await until('nothing waits', () => folder.state().spool!.waiting === 0, folder.state)
  })

  test('follows a segment that was replaced by one with fewer rows', async () => {
    const path = lab.folder('shared')
    const { spool, seal } = spoolFolder()
    seal('flow', 3, 'all rows')
    const folder = lab.shared(path, { spool })
    await folder.start()
    const copy = join(path, 'spool', collector, 'flow', '000000000003.segment')
    const text = () => {
      try {
        return readFileSync(copy, 'utf8')
      } catch {
        return ''
      }
    }
    await until('the copy', () => text() === 'all rows')
    seal('flow', 3, 'few rows')
    await until('the new copy', () => text() === 'few rows', text)
    // Also while nobody looked.
    await folder.stop()
    seal('flow', 3, 'one row')
    const again = lab.shared(path, { spool })
    await again.start()
    await until('the newest copy', () => text() === 'one row', text)
  })

  test.skipIf(!isRoot)(
    'waits while the folder is full and goes on when there is room (needs root)',
    async () => {
      const path = lab.tmpfs('small', 'size=8m')
      mark(path)
      const { spool, seal } = spoolFolder()
      const folder = lab.shared(path, { spool })
      await folder.start()
      await usable(folder)
      const filler = join(path, 'filler')
      writeFileSync(filler, Buffer.alloc(6_900_000))
      for (let sequence = 0; sequence < 5; sequence++) seal('flow', sequence, 'x'.repeat(200_000))
      await fault(folder, 'full')
      await until('it waits', () => folder.state().spool!.waiting > 0, folder.state)
      rmSync(filler)
      await until('all copies', () => copies(path).length === 5, folder.state)
      await usable(folder)
    },
  )

  test('is whole or not there, whenever its process is killed', async () => {
    const path = lab.folder('shared')
    const { spool, seal } = spoolFolder()
    const folder = lab.shared(path, { spool })
    await folder.start()
    await usable(folder)
    const content = (sequence: number) => `${sequence} `.repeat(300_000)
    const isWhole = (name: string) => {
      const sequence = Number(/\d{12}/.exec(name)![0])
      const { size } = statSync(join(path, 'spool', collector, name))
      expect(size, name).toBe(content(sequence).length)
    }
    for (let round = 0; round < 6; round++) {
      for (let one = 0; one < 10; one++) seal('flow', 10 * round + one, content(10 * round + one))
      await sleep(Math.random() * 150)
      const pids = folderProcesses()
      expect(pids).toHaveLength(1)
      for (const pid of pids) process.kill(pid, 'SIGKILL')
      for (const name of copies(path)) isWhole(name)
      await fault(folder, 'process-failed')
      await usable(folder)
    }
    await until('all copies', () => copies(path).length === 60, folder.state)
    const left = filesUnder(join(path, 'spool')).filter(name => !name.endsWith('.segment'))
    expect(left, 'nothing half written is left').toEqual([])
  })
})

test('what writers that are gone left half written is swept, what is fresh stays', async () => {
  const path = lab.folder('shared')
  mkdirSync(join(path, 'reports', '000000000001'), { recursive: true })
  const old = join(path, 'reports', '000000000001', '.x.b-1.keepwatch-tmp')
  const fresh = join(path, 'reports', '000000000001', '.y.b-1.keepwatch-tmp')
  for (const file of [old, fresh]) writeFileSync(file, 'half')
  const hoursAgo = Date.now() / 1000 - 7300
  utimesSync(old, hoursAgo, hoursAgo)
  const folder = lab.shared(path, { sweepMs: 200 })
  await folder.start()
  await until('the sweep', () => filesUnder(join(path, 'reports')).length === 1)
  expect(filesUnder(join(path, 'reports'))).toEqual(['000000000001/.y.b-1.keepwatch-tmp'])
})
