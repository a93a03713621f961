import { describe, expect, test } from 'vitest'
import { pairState } from '../../api/contract/pair.ts'
import type { NodeStatus } from '../../failover/node.ts'
import type { Directory, KnownServer } from './directory.ts'
import { createPairView } from './pair-view.ts'

const heard = new Set<() => void>()
const moment = new Date('2025-11-21T00:00:00Z')

function known(name: string, consoleUrl: string): KnownServer {
  return {
    name,
    installed: 'primary',
    incarnation: 'x',
    version: '1',
    consoleUrl,
    linkHost: name,
    linkPort: 1,
    startedAt: moment,
    seenAt: moment,
  }
}

function viewOf(
  change: Partial<NodeStatus>,
  servers = [known('a', 'http://127.0.0.1:80'), known('b', 'https://b.example')],
) {
  const status: NodeStatus = {
    server: 'a',
    incarnation: 'x',
    version: '1',
    role: 'standby',
    state: 'standby',
    term: 4,
    active: 'b',
    since: moment,
    sentence: 'b is active',
    fault: undefined,
    database: 'there',
    heartbeat: { counter: 7, ageMs: undefined, recentMs: [] },
    peer: undefined,
    leaseMs: 10_000,
    paused: undefined,
    address: { type: 'none', what: [], held: false, fault: undefined },
    ...change,
  }
  const directory = {
    servers: () => servers,
    leader: () => ({ term: 4, holder: 'b', since: new Date(0), reason: 'x' }),
    database: () => ({ reachable: true, latencyMs: 1 }),
    operation: () => null,
    origins: () => servers.map(({ consoleUrl }) => new URL(consoleUrl).origin),
  } as unknown as Directory
  return createPairView(
    {
      status: () => status,
      onChange(listener) {
        heard.add(() => listener(status))
        return () => heard.clear()
      },
      onHeartbeat: () => () => {},
      directory,
      engineReady: () => true,
      telemetry: () => [],
    },
    {
      name: 'a',
      timings: { heartbeatMs: 1, leaseMs: 1, timeoutMs: 1 },
      ownConsole: () => 'http://127.0.0.1:8080',
    },
  )
}

describe('a standby', () => {
  test('names the active, its console and since when it is', () => {
    const view = viewOf({})
    expect(view.activeConsole()).toBe('https://b.example')
    expect(view.summary()).toEqual({
      server: 'a',
      role: 'standby',
      term: 4,
      since: new Date(0).toISOString(),
      active: 'b',
      activeConsole: 'https://b.example',
      sentence: 'b is active',
    })
  })

  test('does not know what the other one is while it does not hear it', () => {
    const roles = (change: Partial<NodeStatus>) =>
      viewOf(change)
        .state()
        .servers.map(s => s.role)
    expect(roles({})).toEqual(['standby', 'unknown'])
    expect(roles({ peer: { evidence: { kind: 'silent', server: 'b' }, ageMs: 1 } })[1]).toBe(
      'unknown',
    )
  })

  test('that knows nobody says so', () => {
    const view = viewOf({ active: undefined })
    expect(view.activeConsole()).toBeNull()
    expect(view.state()).toMatchObject({ active: null, activeConsole: null })
    expect(viewOf({ active: 'c' }).activeConsole()).toBeNull()
  })
})

test('an active names itself', () => {
  const view = viewOf({ role: 'active', state: 'active', active: 'a' })
  expect(view.activeConsole()).toBe('http://127.0.0.1:8080')
  expect(view.summary().since).toBe(moment.toISOString())
})

test('what it says is what the contract promises', () => {
  const state = viewOf({ role: 'active', state: 'active', active: 'a' }).state()
  expect(pairState.parse(state)).toEqual(state)
})

test('a pause and what is wrong with the address are told', () => {
  const state = viewOf({
    paused: { by: 'ada', reason: 'new cables', until: moment },
    address: { type: 'virtual-ip', what: ['192.0.2.10/24'], held: false, fault: 'no interface' },
  }).state()
  expect(pairState.parse(state)).toMatchObject({
    paused: { by: 'ada', reason: 'new cables', until: moment.toISOString() },
    address: { type: 'virtual-ip', fault: 'no interface' },
  })
})

test('who watches is told at once, and again when something changes, until he goes', async () => {
  const gone = new AbortController()
  const told = viewOf({}).changes(gone.signal)[Symbol.asyncIterator]()
  expect((await told.next()).value).toMatchObject({ self: 'a', role: 'standby' })
  const second = told.next()
  for (const tell of heard) tell()
  expect((await second).value).toMatchObject({ self: 'a' })
  const third = told.next()
  gone.abort()
  expect((await third).done).toBe(true)
  expect(heard.size).toBe(0)
})

test('its own console is always one of the pair’s, also before it knows of any', () => {
  expect(viewOf({}, []).origins()).toEqual(['http://127.0.0.1:8080'])
})
