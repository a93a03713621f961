import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { systemClock } from '../../lib/clock.ts'
import { createDirectory, type KnownServer } from './directory.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

function serverOf(name: string, consoleUrl: string): KnownServer {
  return {
    name,
    installed: 'primary',
    incarnation: 'x',
    version: '1',
    consoleUrl,
    linkHost: name,
    linkPort: 1,
    startedAt: new Date(0),
    seenAt: new Date(0),
  }
}

function setUp() {
  const state = {
    reachable: true,
    failing: false,
    seen: 0,
    servers: [serverOf('a', 'https://a.example/'), serverOf('b', 'http://127.0.0.1:8081/x')],
    devices: [{ name: 'edge-1', address: '192.0.2.1' }],
    exporters: [{ address: '2001:DB8:0::9', sampling: 100 }],
  }
  const counted: string[] = []
  const directory = createDirectory(
    {
      clock: systemClock,
      tally: { count: (_reason, detail) => counted.push(String(detail?.().error)) },
      async listServers() {
        if (state.failing) throw new Error('the database is away')
        return state.servers
      },
      seen: async () => state.seen++,
      readLeader: async () => ({ term: 3, holder: 'a', since: new Date(0), reason: 'x' }),
      listDevices: async () => state.devices,
      listExporters: async () => state.exporters,
      runningOperation: async () => null,
      health: async () => ({ reachable: state.reachable, latencyMs: state.reachable ? 2 : null }),
    },
    { self: 'a' },
  )
  return { directory, state, counted }
}

describe('the directory', () => {
  test('knows the servers, the leader and the devices from its start on', async () => {
    const { directory, state } = setUp()
    expect(directory.servers()).toEqual([])
    await directory.start()
    expect(directory.peer()?.name).toBe('b')
    expect(directory.leader()).toMatchObject({ term: 3, holder: 'a' })
    expect(directory.database()).toEqual({ reachable: true, latencyMs: 2 })
    expect(directory.nameOf('192.0.2.1')).toBe('edge-1')
    expect(directory.nameOf('192.0.2.2')).toBeNull()
    expect([...directory.sampling()]).toEqual([['2001:db8::9', 100]])
    expect(state.seen).toBe(1)
    await directory.stop()
  })

  test('follows what changes, and stops to', async () => {
    const { directory, state } = setUp()
    await directory.start()
    state.devices = [{ name: 'edge-2', address: '2001:DB8:0::1' }]
    await vi.advanceTimersByTimeAsync(2000)
    expect(directory.nameOf('2001:db8::1')).toBe('edge-2')
    expect(directory.nameOf('192.0.2.1')).toBeNull()
    await directory.stop()
    await vi.advanceTimersByTimeAsync(10_000)
    expect(state.seen).toBe(2)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('keeps what it knows while the database is away or fails', async () => {
    const { directory, state, counted } = setUp()
    await directory.start()
    state.reachable = false
    await vi.advanceTimersByTimeAsync(2000)
    expect(directory.database()).toEqual({ reachable: false, latencyMs: null })
    state.reachable = true
    state.failing = true
    await vi.advanceTimersByTimeAsync(2000)
    expect(counted).toEqual(['the database is away'])
    expect(directory.peer()?.name).toBe('b')
    expect(directory.nameOf('192.0.2.1')).toBe('edge-1')
    await directory.stop()
  })

  test('gives the origins of the consoles, without what is no address', async () => {
    const { directory, state } = setUp()
    state.servers.push(serverOf('c', 'nonsense'))
    await directory.start()
    expect(directory.origins()).toEqual(['https://a.example', 'http://127.0.0.1:8081'])
    await directory.stop()
  })
})
