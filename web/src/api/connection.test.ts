import { describe, expect, test } from 'vitest'
import { createClient } from './client.ts'
import { type ConnectionDeps, createConnection, type PairState } from './connection.ts'
import { ApiError } from './errors.ts'
import { createEventParser } from './events.ts'
import { addressOf } from './routes.ts'

const urlA = 'http://a.test:8080'
const urlB = 'http://b.test:8081'
/** Where the cookies of server-a are sent too. */
const sameHost = 'http://a.test:8081'

/**
 * Two servers that answer by their role; `dead` ones refuse. The page comes from server-a, at its
 * own address or at one that moves with the active.
 */
function createFakePair({ b = urlB, page = urlA, moves = false } = {}) {
  const pair = {
    active: 'server-a' as 'server-a' | 'server-b' | null,
    term: 4,
    dead: new Set<string>(),
    signedOut: new Set<string>(),
    /** Servers that do not answer in time. */
    frozen: new Set<string>(),
    ageMs: 10,
    /** Every request as `METHOD origin path`. */
    seen: [] as string[],
  }
  const nameOf = (url: string) => {
    if (page !== urlA && url.startsWith(page)) return pair.active ?? 'server-a'
    return url.startsWith(b) ? 'server-b' : 'server-a'
  }
  const consoleOf = (name: string | null) =>
    name === null ? null : name === 'server-a' ? `${urlA}/` : `${b}/`

  function stateOf(self: string): PairState {
    const role = pair.active === self ? 'active' : 'standby'
    return {
      self,
      role,
      term: pair.term,
      active: pair.active,
      activeConsole: consoleOf(pair.active),
      since: '2025-11-21T00:00:00Z',
      sentence: 'as the test says',
      servers: ['server-a', 'server-b'].map(name => ({
        name,
        installed: name === 'server-a' ? ('primary' as const) : ('secondary' as const),
        role: pair.active === name ? ('active' as const) : ('standby' as const),
        self: name === self,
        version: '0.1.0',
        console: consoleOf(name)!,
        startedAt: '2025-11-21T00:00:00Z',
        seenAt: '2025-11-21T00:00:00Z',
        engine: true,
      })),
      heartbeat: { counter: 1, ageMs: pair.ageMs, recentMs: [] },
      timings: { heartbeatMs: 1000, leaseMs: 10_000, timeoutMs: 60_000 },
      database: { reachable: true, latencyMs: 1 },
      replication: null,
      telemetry: [],
      paused: null,
      address: {
        type: moves ? ('virtual-ip' as const) : ('none' as const),
        what: [],
        held: true,
        fault: null,
      },
      operation: null,
    }
  }

  const deps: ConnectionDeps = {
    now: () => 0,
    deadline: () => new AbortController().signal,
    later: () => () => {},
    async fetch(address, init) {
      const url = address.startsWith('/') ? `${page}${address}` : address
      const name = nameOf(url)
      pair.seen.push(`${init.method ?? 'GET'} ${name} ${url.replace(/^https?:\/\/[^/]+/, '')}`)
      if (pair.dead.has(name)) throw new TypeError('Failed to fetch')
      if (url.endsWith('/active')) {
        return new Response(null, { status: pair.active === name ? 200 : 503 })
      }
      if (pair.frozen.has(name)) throw new DOMException('too late', 'TimeoutError')
      if (pair.signedOut.has(name)) {
        return Response.json(
          { error: { code: 'not-logged-in', message: 'Log in.' } },
          { status: 401 },
        )
      }
      if (url.endsWith('/api/v1/pair')) return Response.json(stateOf(name))
      if ((init.method ?? 'GET') !== 'GET' && pair.active !== name) {
        return Response.json(
          {
            error: {
              code: 'not-active',
              message: 'This server stands by.',
              active: consoleOf(pair.active),
            },
          },
          { status: 409 },
        )
      }
      return Response.json({ by: name })
    },
  }
  const connection = createConnection(deps, page)
  return { pair, connection, client: createClient(deps, connection) }
}

const id = '00000000-0000-4000-8000-000000000000'

describe('the connection to the pair', () => {
  test('stays with the server that the page came from while that is active', async () => {
    const { connection } = createFakePair()
    await connection.poll()
    expect(connection.state()).toMatchObject({ base: '', failure: null })
    expect(connection.writeBase()).toBe('')
  })

  test('goes to the other server when the first dies, and writes there once it is active', async () => {
    const { pair, connection, client } = createFakePair()
    await connection.poll()
    pair.dead.add('server-a')
    await connection.poll()
    expect(connection.state()).toMatchObject({ base: urlB, pair: { role: 'standby', term: 4 } })

    pair.active = 'server-b'
    pair.term = 5
    await connection.poll()
    expect(connection.state().pair).toMatchObject({ active: 'server-b', term: 5 })
    expect(await client.call('backUpDevice', { params: { id } })).toEqual({ by: 'server-b' })
  })

  test('comes back to the first server when that takes over from the second', async () => {
    const { pair, connection } = createFakePair()
    await connection.poll()
    pair.dead.add('server-a')
    pair.active = 'server-b'
    await connection.poll()
    pair.dead.delete('server-a')
    pair.dead.add('server-b')
    pair.active = 'server-a'
    pair.term = 6
    await connection.poll()
    expect(connection.state()).toMatchObject({ base: '', pair: { role: 'active', term: 6 } })
  })

  test('follows a planned switchover although both servers answer', async () => {
    const { pair, connection } = createFakePair()
    await connection.poll()
    pair.active = 'server-b'
    await connection.poll()
    expect(connection.state()).toMatchObject({ base: urlB, pair: { role: 'active' } })
  })

  test('stays on a standby whose console was opened on purpose, and knows where writes go', async () => {
    const { pair, connection, client } = createFakePair()
    pair.active = 'server-b'
    await connection.poll()
    expect(connection.state()).toMatchObject({ base: '', pair: { role: 'standby' } })
    expect(connection.writeBase()).toBe(urlB)
    expect(await client.call('listDevices', {})).toEqual({ by: 'server-a' })
    expect(await client.call('backUpDevice', { params: { id } })).toEqual({ by: 'server-b' })
  })

  test('stays on the standby if the active cannot be reached from here', async () => {
    const { pair, connection } = createFakePair()
    await connection.poll()
    pair.active = 'server-b'
    pair.dead.add('server-b')
    await connection.poll()
    expect(connection.state()).toMatchObject({ base: '', pair: { role: 'standby' }, failure: null })
  })

  test('says that nobody answers and goes on asking', async () => {
    const { pair, connection } = createFakePair()
    await connection.poll()
    pair.dead.add('server-a').add('server-b')
    await connection.poll()
    expect(connection.state()).toMatchObject({ base: '', failure: 'Failed to fetch' })
    pair.dead.clear()
    await connection.poll()
    expect(connection.state().failure).toBeNull()
  })

  test('tells a server that does not know the session from a dead one', async () => {
    const { pair, connection } = createFakePair({ b: sameHost })
    await connection.poll()
    pair.signedOut.add('server-b')
    pair.dead.add('server-a')
    await connection.poll()
    expect(connection.state()).toMatchObject({ base: sameHost, signedOut: true, failure: null })
  })

  test('stays with a slow server while its partner sees it alive, and leaves a frozen one', async () => {
    const { pair, connection } = createFakePair()
    await connection.poll()
    pair.frozen.add('server-a')
    await connection.poll()
    expect(connection.state()).toMatchObject({ base: '', failure: null, pair: { role: 'active' } })
    pair.ageMs = 4000
    await connection.poll()
    expect(connection.state()).toMatchObject({ base: urlB, pair: { role: 'standby' } })
    pair.seen.length = 0
    await connection.poll()
    expect(pair.seen).toEqual(['GET server-b /api/v1/pair'])
  })

  describe('whose other server has another host name, where nobody is logged in', () => {
    test('says where to go on when the active has died, once the other one is active', async () => {
      const { pair, connection } = createFakePair()
      await connection.poll()
      pair.signedOut.add('server-b')
      pair.dead.add('server-a')
      await connection.poll()
      expect(connection.state()).toMatchObject({
        elsewhere: null,
        signedOut: false,
        failure: 'Failed to fetch; b.test stands by',
      })
      pair.active = 'server-b'
      await connection.poll()
      expect(connection.state()).toMatchObject({ elsewhere: urlB, failure: null })
    })

    test('says where to go on after a planned switchover', async () => {
      const { pair, connection } = createFakePair()
      await connection.poll()
      pair.signedOut.add('server-b')
      pair.active = 'server-b'
      await connection.poll()
      expect(connection.state()).toMatchObject({ base: '', elsewhere: urlB, signedOut: false })
    })

    test('stays where it was opened on purpose: on the standby', async () => {
      const { pair, connection } = createFakePair()
      pair.signedOut.add('server-b')
      pair.active = 'server-b'
      await connection.poll()
      expect(connection.state()).toMatchObject({ elsewhere: null, pair: { role: 'standby' } })
    })

    test('waits for the address that moves, if the page came by that', async () => {
      const page = 'http://moves.test'
      const { pair, connection } = createFakePair({ page, moves: true })
      await connection.poll()
      pair.signedOut.add('server-b')
      pair.dead.add('server-a')
      await connection.poll()
      expect(connection.state()).toMatchObject({ elsewhere: null, failure: 'Failed to fetch' })
      pair.active = 'server-b'
      pair.signedOut.clear()
      await connection.poll()
      expect(connection.state()).toMatchObject({ base: '', elsewhere: null, failure: null })
    })
  })

  test('asks once however many callers want to know', async () => {
    const { pair, connection } = createFakePair()
    await Promise.all([connection.poll(), connection.poll(), connection.poll()])
    expect(pair.seen).toHaveLength(1)
  })
})

test('of many calls only so many are under way that the poll keeps a connection', async () => {
  const { connection } = createFakePair()
  let underWay = 0
  let most = 0
  const client = createClient(
    {
      deadline: () => new AbortController().signal,
      async fetch() {
        most = Math.max(most, ++underWay)
        await new Promise(resolve => setTimeout(resolve, 1))
        underWay--
        return Response.json({})
      },
    },
    connection,
  )
  const given = new AbortController()
  const calls = Array.from({ length: 12 }, () => client.call('listDevices', {}))
  const abandoned = client.call('listDevices', {}, { signal: given.signal })
  given.abort()
  await expect(abandoned).rejects.toThrow()
  await Promise.all(calls)
  expect(most).toBe(4)
})

describe('a write', () => {
  test('is sent once more to the new active after a refusal, and only then', async () => {
    const { pair, connection, client } = createFakePair()
    await connection.poll()
    pair.active = 'server-b'
    pair.seen.length = 0
    expect(await client.call('switchOver', {})).toEqual({ by: 'server-b' })
    expect(pair.seen.filter(line => line.startsWith('POST'))).toEqual([
      'POST server-a /api/v1/pair/switchover',
      'POST server-b /api/v1/pair/switchover',
    ])
  })

  test('is not repeated when no answer came, for it may have been done', async () => {
    const { pair, connection, client } = createFakePair()
    await connection.poll()
    pair.dead.add('server-a')
    pair.seen.length = 0
    await expect(client.call('switchOver', {})).rejects.toMatchObject({ code: 'network' })
    await connection.poll()
    expect(pair.seen.filter(line => line.startsWith('POST'))).toHaveLength(1)
    expect(connection.state().base).toBe(urlB)
  })

  test('is refused at once where nobody is active', async () => {
    const { pair, connection, client } = createFakePair()
    pair.active = null
    await connection.poll()
    await expect(client.call('switchOver', {})).rejects.toThrow(ApiError)
    expect(pair.seen.some(line => line.startsWith('POST'))).toBe(false)
  })
})

test('addresses fill in the path and leave out what is not set', () => {
  expect(
    addressOf('', 'getDiff', { params: { id: 7 }, query: { against: undefined, context: 3 } }),
  ).toBe('/api/v1/versions/7/diff?context=3')
  expect(
    addressOf(urlB, 'getTrafficTop', { query: { by: 'src.addr', where: ['a=1', 'b=2'] } }),
  ).toBe(`${urlB}/api/v1/traffic/top?by=src.addr&where=a%3D1&where=b%3D2`)
})

describe('server-sent events', () => {
  const stream = 'data: {"n":1}\n\n: keep-alive\n\nevent: x\r\ndata: a\r\ndata:b\r\n\r\ndata: open'

  test('come out whole however the text is cut', () => {
    for (let size = 1; size <= stream.length; size++) {
      const parse = createEventParser()
      const events: string[] = []
      for (let at = 0; at < stream.length; at += size)
        events.push(...parse(stream.slice(at, at + size)))
      expect(events).toEqual(['{"n":1}', 'a\nb'])
    }
  })
})
