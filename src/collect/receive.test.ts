import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { systemClock } from '../lib/clock.ts'
import { createLog } from '../lib/log.ts'
import { createMetrics } from '../lib/metrics.ts'
import { type Authority, type Identity, openAuthority } from '../lib/tls.ts'
import { createBatch } from '../telemetry/batch.ts'
import { encodeNative } from '../telemetry/native.ts'
import { tables } from '../telemetry/tables.ts'
import { linkHeaders } from './link.ts'
import { createReceiver, type Receiver, type ReceiverConfig, type SegmentStore } from './receive.ts'
import { compressBody } from './segment.ts'
import { loadZstd } from './zstd.ts'

const collector = '01234567-89ab-4def-8123-456789abcdef'
const path = `/link/v1/segments/${collector}/syslog/5`
let dir: string
let authority: Authority
let server: Identity
let client: Identity
let native: Uint8Array
let body: Buffer
let receiver: Receiver | undefined

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'keepwatch-receive-'))
  authority = await openAuthority(dir)
  server = await authority.issue({ role: 'server', name: 's', hosts: ['127.0.0.1'] })
  client = await authority.issue({ role: 'collector', name: 'c', hosts: [] })
  const batch = createBatch(tables.syslog, 4, () => {})
  for (const text of ['one', 'two']) {
    batch.cells.raw.setText(batch.claim(), text)
    batch.commit()
  }
  native = encodeNative(batch)
  body = await compressBody(native)
})
afterAll(() => rmSync(dir, { recursive: true }))
afterEach(async () => {
  await receiver?.stop()
  receiver = undefined
})

async function start(store: Partial<SegmentStore>, config: Partial<ReceiverConfig> = {}) {
  const onStored = vi.fn()
  const metrics = createMetrics({})
  receiver = createReceiver(
    {
      zstd: loadZstd(),
      store: {
        insertSegment: async () => 'stored',
        received: async () => ({ flow: [], syslog: [], trap: [], counter: [], name: [] }),
        ...store,
      },
      identity: server,
      log: createLog({ level: 'silent', part: 'test' }),
      metrics,
      clock: systemClock,
      onStored,
      linkState: () => ({ role: 'active' }),
    },
    { host: '127.0.0.1', port: 0, ...config },
  )
  await receiver.start()
  return { onStored, metrics }
}

function call(
  method: string,
  path: string,
  options: { body?: Uint8Array; headers?: Record<string, string | number>; as?: Identity } = {},
) {
  const { body = Buffer.alloc(0), headers = {}, as = client } = options
  return new Promise<{ status: number; retryAfter: string | undefined; json: unknown }>(
    (resolve, reject) => {
      const sent = request(
        {
          host: '127.0.0.1',
          port: receiver!.port,
          method,
          path,
          agent: false,
          key: as.key,
          cert: as.cert,
          ca: authority.ca,
          headers: { 'content-length': body.length, ...headers },
        },
        response => {
          let text = ''
          response.on('data', chunk => (text += chunk))
          response.on('end', () =>
            resolve({
              status: response.statusCode!,
              retryAfter: response.headers['retry-after'],
              json: JSON.parse(text),
            }),
          )
        },
      )
      sent.on('error', reject)
      sent.end(body)
    },
  )
}

function put(overrides: { body?: Uint8Array; headers?: Record<string, string | number> } = {}) {
  const content = overrides.body ?? body
  return call('PUT', path, {
    body: content,
    headers: {
      'content-encoding': 'zstd',
      [linkHeaders.rows]: 2,
      [linkHeaders.nativeBytes]: native.length,
      [linkHeaders.sha256]: createHash('sha256').update(content).digest('hex'),
      ...overrides.headers,
    },
  })
}

describe('the receiver', () => {
  test('answers when the store has the segment, not before, and announces it', async () => {
    let stored: (result: 'stored') => void = () => {}
    const insertSegment = vi.fn(
      (_id: object, _native: Uint8Array, _packed?: Uint8Array) =>
        new Promise<'stored'>(resolve => {
          stored = resolve
        }),
    )
    const { onStored } = await start({ insertSegment })
    let answered = false
    const answer = put().finally(() => {
      answered = true
    })
    await vi.waitFor(() => expect(insertSegment).toHaveBeenCalled())
    expect(answered).toBe(false)
    expect(insertSegment.mock.calls[0]).toEqual([
      { collector, kind: 'syslog', sequence: 5, rows: 2 },
      native,
      expect.any(Uint8Array),
    ])
    const packed = insertSegment.mock.calls[0]![2]!
    expect(zstdDecompressSync(packed)).toEqual(Buffer.from(native))
    stored('stored')
    expect(await answer).toMatchObject({ status: 200, json: { result: 'stored' } })
    expect(onStored).toHaveBeenCalledWith('syslog', native, collector)
  })

  test('stores once what comes a second time while the first is being stored', async () => {
    let stored: (result: 'stored') => void = () => {}
    const insertSegment = vi.fn(
      () =>
        new Promise<'stored'>(resolve => {
          stored = resolve
        }),
    )
    const { onStored } = await start({ insertSegment })
    const answers = Promise.all([put(), put()])
    await vi.waitFor(() => expect(insertSegment).toHaveBeenCalled())
    await new Promise(resolve => setTimeout(resolve, 100))
    stored('stored')
    const results = (await answers).map(({ json }) => (json as { result: string }).result)
    expect(results.sort()).toEqual(['duplicate', 'stored'])
    expect(insertSegment).toHaveBeenCalledTimes(1)
    expect(onStored).toHaveBeenCalledTimes(1)
  })

  test('tells what a store will never take from what may succeed later', async () => {
    const errors = [
      Object.assign(new Error('no such column'), { refused: true }),
      new Error('busy'),
    ]
    await start({
      insertSegment: async () => {
        throw errors.shift()
      },
    })
    expect(await put()).toMatchObject({
      status: 422,
      json: { error: { message: 'no such column' } },
    })
    expect(await put()).toMatchObject({ status: 503, retryAfter: '1' })
  })

  test('does not wait for a store for ever', async () => {
    await start({ insertSegment: () => new Promise(() => {}) }, { storeTimeoutMs: 50 })
    expect(await put()).toMatchObject({ status: 503, json: { error: { code: 'store-slow' } } })
  })

  test('never hands a segment to the store that is not whole', async () => {
    const insertSegment = vi.fn(async (): Promise<'stored'> => 'stored')
    await start({ insertSegment }, { maxBodyBytes: 10_000, maxNativeBytes: 100_000 })
    const damaged = Buffer.from(body)
    damaged[4]! ^= 8
    const bomb = await compressBody(new Uint8Array(50_000))
    const rejected: [object, number][] = [
      [{ body: damaged, headers: { [linkHeaders.sha256]: '00' } }, 400],
      [{ body: damaged }, 422],
      [{ body: Buffer.from('not zstd at all') }, 422],
      [{ body: bomb }, 422],
      [{ headers: { [linkHeaders.rows]: 3 } }, 422],
      [{ headers: { [linkHeaders.nativeBytes]: 1_000_000 } }, 422],
      [{ headers: { [linkHeaders.nativeBytes]: 'many' } }, 400],
      [{ headers: { 'content-encoding': 'gzip' } }, 400],
      [{ body: Buffer.alloc(20_000) }, 422],
    ]
    for (const [overrides, status] of rejected) expect((await put(overrides)).status).toBe(status)
    expect(insertSegment).not.toHaveBeenCalled()
    expect((await put()).status).toBe(200)
  })

  test('holds no more in memory than it may', async () => {
    let stored: ((result: 'stored') => void) | undefined
    await start(
      {
        insertSegment: () =>
          new Promise(resolve => {
            stored = resolve
          }),
      },
      { maxInFlightBytes: 1.5 * (body.length + native.length) },
    )
    const first = put()
    await vi.waitUntil(() => stored !== undefined)
    const other = () =>
      call('PUT', path.replace('/5', '/6'), {
        body,
        headers: {
          'content-encoding': 'zstd',
          [linkHeaders.rows]: 2,
          [linkHeaders.nativeBytes]: native.length,
          [linkHeaders.sha256]: createHash('sha256').update(body).digest('hex'),
        },
      })
    expect(await other()).toMatchObject({ status: 503 })
    stored!('stored')
    expect((await first).status).toBe(200)
  })

  test('lets nobody in without a certificate of this deployment', async () => {
    await start({})
    const elsewhere = mkdtempSync(join(tmpdir(), 'keepwatch-receive-'))
    const stranger = await (await openAuthority(elsewhere)).issue({
      role: 'collector',
      name: 'x',
      hosts: [],
    })
    rmSync(elsewhere, { recursive: true })
    await expect(call('GET', '/link/v1/state', { as: stranger })).rejects.toThrow()
    await expect(
      call('GET', '/link/v1/state', { as: { key: '', cert: '', ca: '' } }),
    ).rejects.toThrow()
  })

  test('tells its state to servers only', async () => {
    await start({})
    expect((await call('GET', '/link/v1/state')).status).toBe(403)
    expect(await call('GET', '/link/v1/state', { as: server })).toMatchObject({
      status: 200,
      json: { role: 'active' },
    })
  })

  test('remembers what collectors say of themselves', async () => {
    const { metrics } = await start({})
    const state = {
      id: collector,
      name: 'site',
      version: '1',
      startedAt: new Date(0).toISOString(),
      listeners: [],
      kinds: [],
      deliveries: [],
      exporters: [],
      problems: {},
    }
    const post = (body: unknown) =>
      call('POST', '/link/v1/collectors', { body: Buffer.from(JSON.stringify(body)) })
    expect((await post(state)).status).toBe(200)
    expect((await post({ ...state, name: 'renamed' })).status).toBe(200)
    expect((await post({ id: 'no' })).status).toBe(400)
    expect(await metrics.metrics()).not.toContain('identity-used-twice')
    await post({ ...state, startedAt: new Date(9).toISOString() })
    await post({ ...state, name: 'renamed' })
    expect(await metrics.metrics()).toContain('identity-used-twice')
    expect(receiver!.collectors()).toHaveLength(1)
    expect(receiver!.collectors()[0]!.state.name).toBe('renamed')
  })

  test('answers what it has of a collector, and 404 to what it does not know', async () => {
    await start({
      received: async () => ({ flow: [[0, 4]], syslog: [], trap: [], counter: [], name: [] }),
    })
    expect((await call('GET', `/link/v1/segments/${collector}`)).json).toEqual({
      narrow: true,
      flow: [[0, 4]],
      syslog: [],
      trap: [],
      counter: [],
      name: [],
    })
    expect((await call('GET', '/link/v1/segments/../../etc/passwd')).status).toBe(404)
    expect((await call('PUT', `/link/v1/segments/${collector}/nothing/1`)).status).toBe(404)
  })
})

test('stops at once, also while somebody shakes hands', async () => {
  await start({})
  const silent = connect(receiver!.port, '127.0.0.1')
  silent.on('error', () => {})
  await once(silent, 'connect')
  // By then the server has it too.
  expect((await call('GET', `/link/v1/segments/${collector}`)).status).toBe(200)
  const closed = once(silent.resume(), 'close')
  const began = performance.now()
  await receiver!.stop()
  await closed
  expect(performance.now() - began).toBeLessThan(2000)
})
