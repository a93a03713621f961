import { expect, test } from 'vitest'
import { describeFault, faultKindOf } from './fault.ts'
import { judgeExercise, judgeMount, judgeOwner, judgeThere } from './judge.ts'
import { isRemote, mountOf } from './mount.ts'
import {
  isTemporary,
  keptPath,
  parseKept,
  parseMarker,
  segmentPath,
  segmentSequence,
  temporaryName,
} from './place.ts'
import type { Inspection } from './protocol.ts'

const mountinfo = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /mnt rw - tmpfs tmpfs rw
31 30 0:44 / /mnt/keep\\040watch rw,relatime shared:2 - nfs4 nas.example.net:/keepwatch rw,vers=4.2
32 30 0:45 / /mnt/other rw - cifs //nas/share rw
33 32 0:46 / /mnt/other rw - fuse.sshfs k@nas:/srv rw
34 garbled`

test('a path lies on the mount that leads to it the furthest, and on the last one made there', () => {
  expect(mountOf('/mnt/keep watch/mirror', mountinfo)).toEqual({
    point: '/mnt/keep watch',
    type: 'nfs4',
    source: 'nas.example.net:/keepwatch',
  })
  expect(mountOf('/mnt/other', mountinfo)?.type).toBe('fuse.sshfs')
  expect(mountOf('/mnt/others', mountinfo)?.type).toBe('tmpfs')
  expect(mountOf('/srv', mountinfo)?.point).toBe('/')
  expect(mountOf('/srv', '')).toBeUndefined()
})

test('file systems of other machines are told from disks', () => {
  expect(['nfs', 'nfs4', 'cifs', 'smb3', 'fuse.sshfs', 'ceph', '9p'].map(isRemote)).not.toContain(
    false,
  )
  expect(['ext4', 'xfs', 'tmpfs', 'overlay', 'zfs'].map(isRemote)).toEqual(Array(5).fill(false))
  expect(isRemote('fuse.something')).toBeUndefined()
})

test('a report’s path says its term and its hash, and gives back its name', () => {
  const hash = 'a'.repeat(64)
  const path = keptPath('reports', 12, 'october.2026.pdf', hash)
  expect(path).toBe('reports/000000000012/october.2026~aaaaaaaaaaaaaaaa.pdf')
  expect(parseKept(path)).toEqual({
    name: 'october.2026.pdf',
    term: 12,
    path,
    hash: 'aaaaaaaaaaaaaaaa',
  })
  expect(parseKept(keptPath('bundles', 1, 'README', hash))?.name).toBe('README')
  for (const name of ['../x', 'a/b', '.hidden', '', 'a~b', 'x'.repeat(200)]) {
    expect(() => keptPath('reports', 1, name, hash), name).toThrow('is named with letters')
  }
  for (const stranger of ['reports/1/x.pdf', 'reports/000000000001/x.pdf', 'spool/x']) {
    expect(parseKept(stranger), stranger).toBeUndefined()
  }
})

test('a segment’s path is made of its identity, and of nothing else', () => {
  const collector = '0f3c2a10-1111-4222-8333-444455556666'
  const path = segmentPath({ collector, kind: 'flow', sequence: 7 })
  expect(path).toBe(`spool/${collector}/flow/000000000007.segment`)
  expect(segmentSequence('000000000007.segment')).toBe(7)
  expect(segmentSequence(temporaryName('000000000007.segment', 'a'))).toBeUndefined()
  expect(isTemporary(temporaryName('x', 'a'))).toBe(true)
  for (const bad of [
    { collector: '../..', kind: 'flow', sequence: 1 },
    { collector, kind: '../x', sequence: 1 },
    { collector, kind: 'flow', sequence: -1 },
  ]) {
    expect(() => segmentPath(bad)).toThrow('there is no segment')
  }
})

test('a marker is one of Keepwatch’s or none', () => {
  expect(parseMarker('{"keepwatch":1,"deployment":"x"}')?.deployment).toBe('x')
  for (const text of ['', '{', 'null', '{"keepwatch":2,"deployment":"x"}', '{"keepwatch":1}']) {
    expect(parseMarker(text), text).toBeUndefined()
  }
})

test('each error of a file system becomes a fault with a sentence that says what to do', () => {
  const cases = { ENOSPC: 'full', EDQUOT: 'full', EROFS: 'read-only', ESTALE: 'stale' }
  for (const [code, kind] of Object.entries(cases)) expect(faultKindOf(code)).toBe(kind)
  expect(faultKindOf('EWHATEVER')).toBe('failed')
  expect(describeFault('full', '/mnt/x', '3 MiB free').text).toBe(
    'The shared folder /mnt/x is full (3 MiB free): make room on the file server. Until then segments stay in this server’s own spool only.',
  )
  expect(describeFault('hung', '/mnt/x').text).toContain('/mnt/x does not answer')
})

test('what was seen in a folder becomes a pass, a warning or a failure', () => {
  const fine: Inspection = {
    exists: true,
    folder: true,
    mount: { point: '/mnt/x', type: 'nfs4', source: 'nas:/x' },
    onRootDisk: false,
    onDataDisk: false,
    strangers: [],
    deployment: undefined,
    freeBytes: 2e9,
    git: 'git version 2',
  }
  expect(judgeThere('/mnt/x', fine).result).toBe('pass')
  expect(judgeThere('/mnt/x', { ...fine, folder: false }).text).toBe('/mnt/x is not a folder')
  expect(judgeMount('/mnt/x', fine)).toMatchObject({
    result: 'pass',
    text: '/mnt/x is nas:/x (nfs4)',
  })
  expect(judgeMount('/mnt/x', { ...fine, onRootDisk: true }).result).toBe('warning')
  const disk = { point: '/mnt/x', type: 'ext4', source: '/dev/sdb1' }
  expect(judgeMount('/mnt/x', { ...fine, mount: disk }).result).toBe('warning')
  expect(judgeOwner('/mnt/x', fine, 'me').result).toBe('pass')
  expect(judgeOwner('/mnt/x', { ...fine, deployment: 'me', strangers: ['x'] }, 'me').result).toBe(
    'pass',
  )
  expect(judgeOwner('/mnt/x', { ...fine, deployment: 'you' }, 'me').result).toBe('failure')
  expect(judgeOwner('/mnt/x', { ...fine, strangers: ['photos'] }, 'me').text).toContain('photos')
  const exercise = {
    sha256: '',
    same: true,
    renamed: true,
    synced: true,
    clockAheadMs: 0,
    latencyMs: 9,
  }
  expect(judgeExercise(exercise).result).toBe('pass')
  expect(judgeExercise({ ...exercise, renamed: false }).result).toBe('failure')
  expect(judgeExercise({ ...exercise, synced: false }).result).toBe('warning')
})
