import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createLog } from '../lib/log.ts'
import { createFollower } from './follow.ts'

let dir: string
let now = 0
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'keepwatch-follow-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

const kw1 = { name: 'kw1', url: 'https://10.0.0.1:8450' }
const kw2 = { name: 'kw2', url: 'https://10.0.0.2:8450' }
const follower = (servers: { name: string; url: string }[], follow = true) =>
  createFollower(
    {
      log: createLog({ level: 'silent', part: 'test' }),
      clock: { wall: () => 0, monotonic: () => now },
    },
    { file: join(dir, 'servers.json'), servers, follow },
  )

test('a collector that was told of one server learns of the other, and remembers it', () => {
  const first = follower([kw1])
  expect(first.heard('kw1', { server: 'kw1', servers: [kw1, kw2] })).toBe(true)
  expect(first.servers()).toEqual([kw1, kw2])
  expect(first.heard('kw1', { server: 'kw1', servers: [kw1, kw2] })).toBe(false)
  expect(follower([kw1]).servers()).toEqual([kw1, kw2])
})

test('a server that the settings call otherwise is not taken for another one', () => {
  const named = { name: 'berlin', url: 'https://kw1.example.net:8450' }
  const it = follower([named])
  expect(it.heard('berlin', { server: 'kw1', servers: [kw1, kw2] })).toBe(true)
  expect(it.servers()).toEqual([named, kw2])
})

test('a server that belongs to the pair no more is forgotten, once it does not say so itself any more', () => {
  const it = follower([kw1])
  it.heard('kw1', { server: 'kw1', servers: [kw1, kw2] })
  it.heard('kw2', { server: 'kw2', servers: [kw1, kw2] })
  expect(it.heard('kw1', { server: 'kw1', servers: [kw1] })).toBe(false)
  now += 61_000
  expect(it.heard('kw1', { server: 'kw1', servers: [kw1] })).toBe(true)
  expect(it.servers()).toEqual([kw1])
})

test('servers of the settings stay, whatever is said', () => {
  const it = follower([kw1, kw2])
  expect(it.heard('kw1', { server: 'kw1', servers: [kw1] })).toBe(false)
  expect(it.heard('kw1', {})).toBe(false)
  expect(it.servers()).toEqual([kw1, kw2])
  const alone = follower([kw1], false)
  expect(alone.heard('kw1', { server: 'kw1', servers: [kw1, kw2] })).toBe(false)
})

test('a damaged file is no obstacle', () => {
  const file = join(dir, 'servers.json')
  writeFileSync(file, '[{"name":')
  const it = follower([kw1])
  expect(it.servers()).toEqual([kw1])
  it.heard('kw1', { server: 'kw1', servers: [kw1, kw2] })
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual([kw2])
})
