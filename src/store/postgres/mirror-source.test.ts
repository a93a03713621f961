import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  aDevice,
  createTestDatabases,
  log,
  openDatabase,
  setUpMs,
  type TestDatabases,
  takeOver,
} from '../../../test/contract/databases.ts'
import { freePort } from '../../lib/ports.ts'
import { createContents } from './contents.ts'
import { createDevices } from './devices.ts'
import { createEmbeddedPostgres, type EmbeddedPostgres } from './embedded.ts'
import { createMirrorSource } from './mirror-source.ts'
import { createVersions } from './versions.ts'

let folder: string
let postgres: EmbeddedPostgres
let databases: TestDatabases
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keepwatch-mirror-'))
  postgres = createEmbeddedPostgres(
    { log },
    { dataDir: join(folder, 'postgres'), port: await freePort() },
  )
  await postgres.start()
  databases = await createTestDatabases(postgres.url)
}, setUpMs)
afterAll(async () => {
  await databases?.stop()
  await postgres?.stop()
  await rm(folder, { recursive: true })
}, setUpMs)

test('the mirror reads versions in their order, with texts, and nothing of a device that is gone', async () => {
  const url = await databases.create()
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await takeOver(client, 1)
  await client.end()
  const database = openDatabase(url)
  await database.start()
  try {
    const contents = createContents({ database }, { key: randomBytes(32) })
    const devices = createDevices({ database })
    const versions = createVersions({ database, contents })
    const source = createMirrorSource({ database, contents })
    expect(await source.newest()).toBe(0)
    const ids = await database.fenced(1, { name: 'ann' }, async tx => {
      const device = await devices.create(tx, aDevice)
      const stored = []
      for (const content of ['one\n', 'two\n', 'three\n']) {
        const version = await versions.store(tx, {
          deviceId: device.id,
          artefact: 'running',
          hash: content,
          content,
          takenAt: new Date(1_780_000_000_000),
          author: 'jane',
          cause: 'change',
          added: 1,
          removed: 0,
        })
        stored.push(version!.id)
      }
      return { device: device.id, stored }
    })
    const [first, second, third] = ids.stored
    expect(await source.newest()).toBe(third)
    expect(await source.countAfter(first!)).toBe(2)
    expect(await source.after(first!, 1)).toEqual([
      {
        id: second,
        deviceId: ids.device,
        artefact: 'running',
        takenAt: new Date(1_780_000_000_000),
        author: 'jane',
        cause: 'change',
        added: 1,
        removed: 0,
      },
    ])
    expect(await source.text(third!)).toBe('three\n')
    expect(await source.devices()).toEqual([{ id: ids.device, name: 'edge-1', driver: 'ios' }])
    await database.fenced(1, { name: 'ann' }, tx => devices.remove(tx, ids.device))
    expect(await source.text(third!)).toBeNull()
    expect(await source.after(0, 10)).toEqual([])
  } finally {
    await database.stop()
    await databases.drop(url)
  }
})
