/** What the backups need of the state: their queue, and versions that are stored once. */
import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { zstdCompress } from 'node:zlib'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Job, JobStore, NewJob, NewVersion } from '../../src/devices/store.ts'
import { TermOver } from '../../src/lib/errors.ts'
import { type Contents, createContents } from '../../src/store/postgres/contents.ts'
import { createDevices, type Device } from '../../src/store/postgres/devices.ts'
import { createJobStore } from '../../src/store/postgres/job-store.ts'
import { createJobs } from '../../src/store/postgres/jobs.ts'
import { createVersions, type Versions } from '../../src/store/postgres/versions.ts'
import { aDevice, type TestState } from './databases.ts'

const now = new Date()
const later = new Date(now.getTime() + 60_000)
const longAgo = new Date(0)
const key = randomBytes(32)

export function jobsContract(current: () => TestState): void {
  describe('backups', () => {
    let state: TestState
    let store: JobStore
    let contents: Contents
    let versions: Versions
    let device: Device

    beforeEach(async () => {
      state = current()
      contents = createContents(state, { key })
      versions = createVersions({ ...state, contents })
      store = createJobStore({ ...state, versions })
      device = await addDevice('edge-1')
    })

    const addDevice = (name: string) =>
      state.write(tx => createDevices(state).create(tx, { ...aDevice, name }))

    const aJob = (causeKey: string, deviceId = device.id): NewJob => ({
      deviceId,
      cause: 'change',
      causeKey,
      requestedBy: 'carol',
      notBefore: now,
    })

    const aVersion = (content: string, hash = content): NewVersion => ({
      artefact: 'running',
      hash,
      content,
      takenAt: now,
      author: 'carol',
      cause: 'change',
      added: 1,
      removed: 0,
    })

    const stateOf = async (id: string) => (await createJobs(state).find(Number(id)))!.state

    async function backUp(causeKey: string, ...found: NewVersion[]): Promise<Job> {
      await store.enqueue(1, aJob(causeKey))
      const job = await store.claim(1, now)
      await store.succeed(1, job!.id, { finished: now, versions: found })
      return job!
    }

    describe('jobs', () => {
      test('are queued once for what asked for them', async () => {
        const first = await store.enqueue(1, aJob('message'))
        expect(first.isNew).toBe(true)
        expect(await store.enqueue(1, aJob('message'))).toEqual({ id: first.id, isNew: false })
        await expect(store.enqueue(0, aJob('stale'))).rejects.toThrow(TermOver)
      })

      test('are claimed once, oldest first, when their time has come', async () => {
        const other = await addDevice('edge-2')
        await store.enqueue(1, { ...aJob('early', other.id), notBefore: later })
        await store.enqueue(1, aJob('due'))
        expect(await store.claim(1, now)).toMatchObject({
          deviceId: device.id,
          cause: 'change',
          causeKey: 'due',
          requestedBy: 'carol',
          attempts: 1,
        })
        expect(await store.claim(1, now)).toBeUndefined()
        expect(await store.claim(1, later)).toMatchObject({ causeKey: 'early' })
        await expect(store.claim(0, later)).rejects.toThrow(TermOver)
      })

      test('are claimed once by many claimers, and never two of one device', async () => {
        const all = [device, await addDevice('edge-2'), await addDevice('edge-3')]
        for (const { id } of all) {
          for (const n of [1, 2, 3]) await store.enqueue(1, aJob(`${id}-${n}`, id))
        }
        const second = createJobStore({ database: state.other, versions })
        const claims = await Promise.all(
          Array.from({ length: 10 }, (_, i) => (i % 2 ? store : second).claim(1, now)),
        )
        const claimed = claims.filter(claim => claim !== undefined)
        expect(claimed.length).toBeGreaterThan(0)
        const running = new Set(claimed.map(job => job.deviceId))
        expect(running.size).toBe(claimed.length)
        while (running.size < all.length) running.add((await store.claim(1, now))!.deviceId)
        expect(await store.claim(1, now)).toBeUndefined()
      })

      test('that fail are queued again where that may help, with what was seen', async () => {
        const { id } = await store.enqueue(1, aJob('try'))
        await store.claim(1, now)
        const failure = { finished: now, message: 'no answer', evidence: '…' }
        await store.fail(1, id, { ...failure, reason: 'unreachable', retryAt: later })
        expect(await store.claim(1, now)).toBeUndefined()
        expect(await store.claim(1, later)).toMatchObject({ id, attempts: 2 })
        await store.fail(1, id, { ...failure, reason: 'rejected', retryAt: undefined })
        expect(await createJobs(state).find(Number(id))).toMatchObject({
          state: 'failed',
          failure: 'no answer',
          evidence: '…',
          device: 'edge-1',
        })
        expect(await store.claim(1, later)).toBeUndefined()
      })

      test('in flight in an older term are unknown, and done again in the new one', async () => {
        const { id } = await store.enqueue(1, aJob('lost'))
        await store.claim(1, now)
        expect(await store.recover(1, longAgo)).toBe(0)
        await state.raiseTerm(2)
        await expect(store.recover(1, longAgo)).rejects.toThrow(TermOver)
        expect(await store.recover(2, longAgo)).toBe(1)
        expect(await store.recover(2, longAgo)).toBe(0)
        expect(await stateOf(id)).toBe('unknown')

        const late = { finished: now, versions: [aVersion('written by the old active')] }
        await expect(store.succeed(1, id, late)).rejects.toThrow(TermOver)
        await store.succeed(2, id, late)
        expect(await stateOf(id)).toBe('unknown')
        expect((await versions.list({ limit: 10 })).rows).toEqual([])

        const again = await store.claim(2, new Date(Date.now() + 1000))
        expect(again).toMatchObject({
          causeKey: `lost/after-${id}`,
          requestedBy: 'carol',
          attempts: 2,
        })
        await state.raiseTerm(3)
        expect(await store.recover(3, longAgo)).toBe(1)
        const third = await store.claim(3, new Date(Date.now() + 1000))
        expect(third).toMatchObject({ causeKey: `lost/after-${again!.id}`, attempts: 3 })
      })

      test('that run for longer than any session may are lost too', async () => {
        const { id } = await store.enqueue(1, aJob('stuck'))
        await store.claim(1, now)
        expect(await store.recover(1, later)).toBe(1)
        expect(await stateOf(id)).toBe('unknown')
      })

      test('are listed newest first, by device and by state, page by page', async () => {
        const other = await addDevice('edge-2')
        for (const key of ['a', 'b', 'c']) await store.enqueue(1, aJob(key))
        const last = await store.enqueue(1, aJob('d', other.id))
        const jobs = createJobs(state)
        const first = await jobs.list({ limit: 3 })
        expect(first.rows[0]).toMatchObject({ id: Number(last.id), device: 'edge-2' })
        const rest = await jobs.list({ limit: 3, cursor: first.next! })
        expect(first.rows.length + rest.rows.length).toBe(4)
        expect((await jobs.list({ limit: 9, deviceId: other.id })).rows).toHaveLength(1)
        expect((await jobs.list({ limit: 9, state: 'running' })).rows).toEqual([])
      })
    })

    describe('versions', () => {
      test('are stored with the job that brought them, and only if they differ', async () => {
        const job = await backUp('one', aVersion('hostname a\n'))
        expect(await stateOf(job.id)).toBe('succeeded')
        await backUp('two', aVersion('hostname a\n'))
        await backUp('three', aVersion('hostname b\n'))
        const { rows } = await versions.list({ limit: 10, deviceId: device.id })
        expect(rows.map(row => row.hash)).toEqual(['hostname b\n', 'hostname a\n'])
        expect(rows[0]).toMatchObject({
          device: 'edge-1',
          artefact: 'running',
          author: 'carol',
          cause: 'change',
          added: 1,
          size: 11,
          takenAt: now,
        })
        expect(await versions.before(rows[0]!)).toEqual(rows[1])
        expect(await versions.before(rows[1]!)).toBeNull()
        expect(await store.latestVersion(device.id, 'running')).toEqual({
          hash: 'hostname b\n',
          content: 'hostname b\n',
        })
        expect(await store.latestVersion(device.id, 'startup')).toBeUndefined()
        const [listing] = await createDevices(state).list()
        expect(listing).toMatchObject({
          versions: 2,
          lastVersion: now,
          lastJob: { state: 'succeeded' },
        })
      })

      test('share the text that they have in common, and leave none behind', async () => {
        const text = 'interface Ethernet0/0 – übrig\n'.repeat(5_000)
        await backUp('one', aVersion(text, 'x'))
        await backUp('two', aVersion('other', 'y'))
        await backUp('three', aVersion(text, 'z'))
        const { rows } = await versions.list({ limit: 10 })
        expect(rows).toHaveLength(3)
        expect(await versions.text(rows[0]!)).toBe(text)
        const stored = await state.database.query<{ size: number; bytes: number }>(
          'SELECT size, octet_length(compressed) AS bytes FROM contents ORDER BY size DESC',
        )
        expect(stored).toHaveLength(2)
        expect(stored[0]!.size).toBe(Buffer.byteLength(text))
        expect(stored[0]!.bytes).toBeLessThan(1_000)
        await state.write(tx => createDevices(state).remove(tx, device.id))
        expect(await state.write(contents.removeUnused)).toBe(2)
      })

      test('whose stored text was damaged are not given out', async () => {
        await backUp('one', aVersion('hostname a\n'))
        await backUp('two', aVersion('hostname b\n'))
        const [last, first] = (await versions.list({ limit: 2 })).rows
        await state.write(tx =>
          tx.query(
            'UPDATE contents SET compressed = (SELECT compressed FROM contents WHERE hash = $1) WHERE hash = $2',
            [first!.contentHash, last!.contentHash],
          ),
        )
        await expect(versions.text(last!)).rejects.toThrow('was changed')
      })

      test('are encrypted where they lie, and open only under the key they were stored with', async () => {
        await backUp('one', aVersion('enable secret hunter2\n'))
        const [version] = (await versions.list({ limit: 1 })).rows
        const [stored] = await state.database.query<{ compressed: Buffer }>(
          'SELECT compressed FROM contents',
        )
        expect(stored!.compressed.includes('hunter2')).toBe(false)
        const elsewhere = createContents(state, { key: randomBytes(32) })
        await expect(elsewhere.read(version!.contentHash)).rejects.toThrow('another key')
        expect(await versions.text(version!)).toBe('enable secret hunter2\n')
      })

      test('that were stored before they were encrypted can be read, and are encrypted later', async () => {
        const compress = promisify(zstdCompress)
        await backUp('one', aVersion('hostname a\n'))
        await backUp('two', aVersion('hostname b\n'))
        const { rows } = await versions.list({ limit: 2 })
        for (const { contentHash } of rows) {
          const compressed = await compress((await contents.read(contentHash))!)
          await state.write(tx =>
            tx.query('UPDATE contents SET compressed = $2, sealed = false WHERE hash = $1', [
              contentHash,
              compressed,
            ]),
          )
        }
        expect(await versions.text(rows[0]!)).toBe('hostname b\n')
        expect(await state.write(contents.sealOlder)).toBe(2)
        expect(await state.write(contents.sealOlder)).toBe(0)
        const left = await state.database.query('SELECT FROM contents WHERE NOT sealed')
        expect(left).toEqual([])
        expect(await versions.text(rows[1]!)).toBe('hostname a\n')
      })
    })
  })
}
