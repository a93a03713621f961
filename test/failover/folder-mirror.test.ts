/** The configuration mirror in the shared folder: nothing is missing in it, and nothing there twice. */
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { drivers } from '../../src/devices/drivers/index.ts'
import {
  createMirror,
  type Mirror,
  type MirroredVersion,
  type VersionSource,
} from '../../src/devices/mirror.ts'
import { base, createFolderLab, type FolderLab, filesUnder, until } from './folder-lab.ts'

vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 })

let lab: FolderLab
let mirrors: Mirror[]
beforeEach(() => {
  lab = createFolderLab()
  mirrors = []
})
afterEach(async () => {
  await Promise.all(mirrors.map(mirror => mirror.stop()))
  await lab.close()
})

/** Devices and versions as the state has them. */
function createState() {
  const devices = new Map<string, { id: string; name: string; driver: string }>()
  const versions = new Map<number, MirroredVersion & { content: string }>()
  let nextId = 1
  const sorted = () => [...versions.values()].sort((a, b) => a.id - b.id)
  const source: VersionSource = {
    after: async (id, limit) =>
      sorted()
        .filter(one => one.id > id)
        .slice(0, limit),
    countAfter: async id => sorted().filter(one => one.id > id).length,
    newest: async () => sorted().at(-1)?.id ?? 0,
    text: async id => versions.get(id)?.content ?? null,
    devices: async () => [...devices.values()],
  }
  return {
    source,
    versions,
    add(name: string, driver = 'cisco-ios') {
      const id = randomUUID()
      devices.set(id, { id, name, driver })
      return id
    },
    rename(id: string, name: string) {
      devices.get(id)!.name = name
    },
    remove(id: string) {
      devices.delete(id)
      for (const [key, version] of versions) if (version.deviceId === id) versions.delete(key)
    },
    back(deviceId: string, content: string, id = nextId++) {
      versions.set(id, {
        id,
        deviceId,
        artefact: 'running',
        takenAt: new Date(1_780_000_000_000 + id * 60_000),
        author: 'jane',
        cause: 'change',
        added: 1,
        removed: 0,
        content,
      })
      return id
    },
    draw: () => nextId++,
  }
}

function mirrorOf(shared: ReturnType<FolderLab['shared']>, source: VersionSource) {
  const mirror = createMirror({ ...base(), source, repository: shared.repository, drivers })
  mirrors.push(mirror)
  return mirror
}

const git = (path: string, ...args: string[]) =>
  execFileSync('git', ['-c', 'safe.directory=*', '-C', join(path, 'mirror'), ...args], {
    encoding: 'utf8',
  })

/** Ids of the versions in the mirror's history, oldest first. */
const mirrored = (path: string) =>
  git(path, 'log', '--reverse', '--format=%(trailers:key=Keepwatch-Version,valueonly)')
    .split('\n')
    .filter(Boolean)
    .map(Number)

const files = (path: string) =>
  filesUnder(join(path, 'mirror')).filter(name => !name.startsWith('.git/'))

async function started(server = 'a', term = 1) {
  const path = lab.folder('shared')
  const state = createState()
  const shared = lab.shared(path, { server })
  const mirror = mirrorOf(shared, state.source)
  await shared.start()
  await until('the folder is usable', () => shared.state().usable, shared.state)
  await mirror.start(term)
  const caughtUp = (one = mirror) => {
    one.nudge()
    return until(
      'the mirror has everything',
      async () => {
        one.nudge()
        await sleep(50)
        const { newest, waiting, lastError } = one.state()
        return lastError === undefined && waiting === 0 && newest === (await state.source.newest())
      },
      one.state,
    )
  }
  return { path, state, shared, mirror, caughtUp }
}

test('each version is one commit, by its author, at its time, without secrets', async () => {
  const { path, state, caughtUp } = await started()
  const core = state.add('core 1/x')
  const edge = state.add('.edge', 'no-such-driver')
  state.back(core, 'hostname core\nusername jane secret 5 $1$abcd$efgh\n')
  state.back(core, 'hostname core\nip route 0.0.0.0\n')
  state.back(edge, 'password hunter2\n')
  await caughtUp()
  expect(mirrored(path)).toEqual([1, 2, 3])
  expect(files(path)).toEqual(['%2Eedge/running.cfg', '.devices.json', 'core%201%2Fx/running.cfg'])
  const log = git(path, 'log', '--format=%an|%aI|%cI|%s|%b', '-1', 'HEAD~1')
  expect(log).toContain('jane|2026-05-28T20:28:40+00:00|2026-05-28T20:28:40+00:00')
  expect(log).toContain('core 1/x running: +1 -0')
  expect(log).toContain('Cause: the device said that it was changed')
  const all = git(path, 'log', '-p')
  expect(all).toContain('username jane secret')
  for (const secret of ['$1$abcd$efgh', 'hunter2']) expect(all).not.toContain(secret)
  expect(git(path, 'status', '--porcelain')).toBe('')
  expect(git(path, 'fsck', '--full')).toBe('')
})

test('a renamed device’s folder moves, a deleted one’s goes and stays in the history', async () => {
  const { path, state, caughtUp } = await started()
  const [one, two, three] = [state.add('one'), state.add('two'), state.add('three')]
  for (const device of [one, two, three]) state.back(device, `${device}\n`)
  await caughtUp()
  state.rename(one, 'two')
  state.rename(two, 'one')
  state.remove(three)
  state.back(one, 'new\n')
  await caughtUp()
  expect(files(path)).toEqual(['.devices.json', 'one/running.cfg', 'two/running.cfg'])
  expect(readFileSync(join(path, 'mirror/one/running.cfg'), 'utf8')).toBe(`${two}\n`)
  expect(readFileSync(join(path, 'mirror/two/running.cfg'), 'utf8')).toBe('new\n')
  expect(git(path, 'log', '-p', '--', 'three')).toContain(three)
  expect(git(path, 'status', '--porcelain')).toBe('')
})

test('a version whose transaction ended late is not left out', async () => {
  const { path, state, caughtUp } = await started()
  const device = state.add('core')
  state.back(device, '1\n')
  const late = state.draw()
  state.back(device, '3\n')
  await caughtUp()
  expect(mirrored(path)).toEqual([1, 3])
  state.back(state.add('edge'), '2\n', late)
  state.back(device, '4\n')
  await caughtUp()
  await until(
    'the late one',
    () => mirrored(path).length === 4,
    () => mirrored(path),
  )
  expect(mirrored(path)).toEqual([1, 3, 2, 4])
})

test('after an older database was put back the mirror goes on with what it makes', async () => {
  const { path, state, caughtUp } = await started()
  const device = state.add('core')
  for (let id = 1; id <= 6; id++) state.back(device, `before ${id}\n`)
  await caughtUp()
  for (const id of [4, 5, 6]) state.versions.delete(id)
  await caughtUp()
  state.back(device, 'after 4\n', 4)
  await caughtUp()
  expect(readFileSync(join(path, 'mirror/core/running.cfg'), 'utf8')).toBe('after 4\n')
})

test('killed at any moment, and taken over by the other server, it has each version once, in order', async () => {
  const { path, state, mirror, shared } = await started('a', 3)
  const devices = ['a', 'b', 'c', 'd'].map(name => state.add(name))
  const next = () => state.back(devices[Math.floor(Math.random() * 4)]!, `${Math.random()}\n`)
  let kills = 0
  for (let round = 0; round < 15; round++) {
    for (let i = 0; i < 12; i++) next()
    mirror.nudge()
    await sleep(Math.random() * 250)
    kills += killGits(path)
    await until('the folder is usable', () => shared.state().usable, shared.state)
  }
  // The other takes over in a later term, while this one does not know of it yet.
  const other = lab.shared(path, { server: 'b' })
  const successor = mirrorOf(other, state.source)
  await other.start()
  await until('the other reaches it', () => other.state().usable, other.state)
  await successor.start(4)
  for (let i = 0; i < 30; i++) {
    next()
    mirror.nudge()
    successor.nudge()
    await sleep(10)
  }
  await until(
    'the successor has everything',
    async () => {
      successor.nudge()
      await sleep(100)
      return successor.state().newest === (await state.source.newest())
    },
    successor.state,
  )
  await until(
    'the old one is told',
    () => mirror.state().lastError?.includes('in term 4') === true,
    mirror.state,
  )
  const ids = [...state.versions.keys()]
  expect(mirrored(path)).toEqual(ids)
  expect(git(path, 'status', '--porcelain')).toBe('')
  git(path, 'fsck', '--full')
  for (const device of ['a', 'b', 'c', 'd']) {
    const id = ids.findLast(
      one => state.versions.get(one)!.deviceId === devices['abcd'.indexOf(device)],
    )
    const text = readFileSync(join(path, 'mirror', device, 'running.cfg'), 'utf8')
    expect(text).toBe(state.versions.get(id!)!.content)
  }
  console.log(`${ids.length} versions, ${kills} processes killed`)
})

test('a lock that a dead writer left holds up a newer term as little as its own', async () => {
  const { path, state, mirror, caughtUp } = await started('a', 3)
  state.back(state.add('core'), 'x\n')
  await caughtUp()
  await mirror.stop()
  for (const lock of ['config.lock', 'index.lock', 'refs/heads/main.lock']) {
    writeFileSync(join(path, 'mirror/.git', lock), '')
  }
  await mirror.start(4)
  state.back([...(await state.source.devices())][0]!.id, 'y\n')
  await caughtUp()
  expect(readFileSync(join(path, 'mirror/core/running.cfg'), 'utf8')).toBe('y\n')
})

test('what somebody left in the repository to be run is not run', async () => {
  const { path, state, caughtUp } = await started()
  state.back(state.add('core'), 'x\n')
  await caughtUp()
  const trap = join(lab.dir, 'was-run')
  for (const hook of [
    'reference-transaction',
    'post-index-change',
    'pre-auto-gc',
    'fsmonitor-watchman',
  ]) {
    const file = join(path, 'mirror/.git/hooks', hook)
    writeFileSync(file, `#!/bin/sh\ntouch ${trap}\n`, { mode: 0o755 })
  }
  git(path, 'config', 'core.fsmonitor', join(path, 'mirror/.git/hooks/fsmonitor-watchman'))
  state.back([...(await state.source.devices())][0]!.id, 'y\n')
  await caughtUp()
  expect(mirrored(path)).toEqual([1, 2])
  expect(readdirSync(lab.dir)).not.toContain('was-run')
})

/** Kills the folder's process and the gits it has started. */
function killGits(path: string): number {
  let killed = 0
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, 'utf8')
      const parent = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${name}/status`, 'utf8'))?.[1]
      const isOwn = command.includes('folder-process') && Number(parent) === process.pid
      if (!isOwn && !(command.startsWith('git') && command.includes(path))) continue
      process.kill(Number(name), 'SIGKILL')
      killed++
    } catch {
      // It has just ended.
    }
  }
  return killed
}
