import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Edge, startEdge } from '../../../test/fixtures/http-edge.ts'
import { basePath } from '../contract/index.ts'

let edge: Edge
beforeAll(async () => {
  edge = await startEdge()
})
beforeEach(() => edge.reset())
afterAll(() => edge.stop())

async function get(path: string) {
  const headers = { cookie: edge.cookieOf('viewer') }
  return (await edge.call('GET', basePath + path, { headers })).json
}

const at = Date.parse('2025-11-21T00:00:00Z')
const row = {
  timeMs: at,
  // The engine may write 64-bit numbers as text.
  receivedMs: `${at + 5}`,
  senderText: '192.0.2.7',
  host: 'edge-1',
  app: 'sshd',
  msg_id: '',
  severity: 255,
  facility: 255,
  message: 'm',
  raw: 'r',
}
const trap = {
  receivedMs: at,
  senderText: '192.0.2.9',
  agentText: '192.0.2.7',
  version: 2,
  oid: '1.3.6',
  name: '',
  varbinds: JSON.stringify([{ oid: '1.3', type: 'Integer', value: 7 }]),
}

describe('stored messages', () => {
  test('come with the name of their device, and null where they carry no priority', async () => {
    edge.state.rows = [row, { ...row, severity: 0, facility: 4, senderText: '2001:db8::1' }]
    expect((await get('/logs')).rows).toEqual([
      {
        time: '2025-11-21T00:00:00.000Z',
        received: '2025-11-21T00:00:00.005Z',
        sender: '192.0.2.7',
        device: 'edge-1',
        host: 'edge-1',
        app: 'sshd',
        msgId: '',
        severity: null,
        facility: null,
        message: 'm',
        raw: 'r',
      },
      expect.objectContaining({ severity: 0, facility: 4, device: null }),
    ])
  })

  test('go on page by page, also through many of one moment', async () => {
    edge.state.rows = [row, row, row]
    const first = await get(`/logs?limit=2&to=2025-11-22T00:00:00Z&from=2025-11-20T00:00:00Z`)
    expect(first.rows).toHaveLength(2)
    expect(first.next).toBe(`${at}-2`)
    edge.state.rows = [row, row, row]
    const path = `/logs?limit=2&to=2025-11-22T00:00:00Z&from=2025-11-20T00:00:00Z&cursor=${first.next}`
    expect((await get(path)).next).toBe(`${at}-4`)
    expect(edge.state.asked.at(-1)!.params).toMatchObject({ cursor: at, skip: 2, limit: 3 })
    edge.state.rows = [row]
    expect(await get(path)).toMatchObject({ next: null, rows: [{ message: 'm' }] })
  })

  test('are counted over time by the name of their severity', async () => {
    const bucket = Math.floor(at / 1000)
    edge.state.rows = [
      { bucket, key: '3', value: '4' },
      { bucket, key: '255', value: 2 },
    ]
    const { times, series, step } = await get(
      '/logs/histogram?from=2025-11-21T00:00:00Z&to=2025-11-21T01:00:00Z',
    )
    expect(times).toHaveLength(3600 / step)
    expect(series).toMatchObject([{ key: 'error' }, { key: 'none' }])
    expect(series[0].values[0]).toBe(4)
    expect(series[0].values).toHaveLength(times.length)
  })
})

test('traps come with their values as text, and the device that they are about', async () => {
  edge.state.rows = [trap, { ...trap, agentText: '::', senderText: '192.0.2.7' }]
  expect((await get('/traps')).rows).toMatchObject([
    {
      device: 'edge-1',
      agent: '192.0.2.7',
      varbinds: [{ oid: '1.3', type: 'Integer', value: '7' }],
    },
    { device: 'edge-1' },
  ])
})

test('the sums of traffic are numbers, though the engine writes text', async () => {
  edge.state.rows = [{ keys: ['10.0.0.1'], bytes: '12', packets: 3, flows: '1' }]
  expect(await get('/traffic/top?by=src.addr')).toMatchObject({
    rows: [{ keys: ['10.0.0.1'], bytes: 12, packets: 3, flows: 1 }],
    total: { bytes: 12, packets: 3, flows: 1 },
    source: { table: 'flow', rowsRead: 14 },
  })
})

test('no answer may be longer in time than its picture can be', async () => {
  const range = 'from=2020-01-01T00:00:00Z&to=2030-01-01T00:00:00Z'
  expect((await get(`/logs/histogram?${range}`)).times.length).toBeLessThan(4000)
  expect((await get('/traffic/series?from=1990-01-01T00:00:00Z')).error.message).toContain(
    'ten years',
  )
})
