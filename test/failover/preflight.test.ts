/** What a server finds out about its network, on a network that is there: two ends of a cable. */
import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ServerFacts } from '../../src/failover/preflight/facts.ts'
import { gatherFacts } from '../../src/failover/preflight/gather.ts'
import { judge } from '../../src/failover/preflight/judge.ts'

const able =
  process.getuid?.() === 0 &&
  spawnSync('ip', ['netns', 'list']).status === 0 &&
  spawnSync('ping', ['-V']).status === 0
if (!able) process.stdout.write('skipped: needs root, ip and ping\n')

/** One of documentation's (RFC 5737). */
const network = `198.51.100`
const space = `kwpf${process.pid}`
const [here, there] = [`kpa${process.pid % 100_000}`, `kpb${process.pid % 100_000}`]
const ip = (...args: string[]) => execFileSync('ip', args)

describe.skipIf(!able)('on a cable to another machine', () => {
  beforeAll(() => {
    ip('netns', 'add', space)
    ip('link', 'add', here, 'type', 'veth', 'peer', 'name', there, 'netns', space)
    ip('addr', 'add', `${network}.1/24`, 'dev', here)
    // As a DHCP client does it.
    ip(
      'addr',
      'add',
      '2001:db8:77::1/64',
      'dev',
      here,
      'valid_lft',
      '3600',
      'preferred_lft',
      '3600',
    )
    ip('link', 'set', here, 'up')
    ip('-n', space, 'addr', 'add', `${network}.2/24`, 'dev', there)
    ip('-n', space, 'link', 'set', there, 'up')
  })
  afterAll(() => {
    spawnSync('ip', ['link', 'del', here])
    spawnSync('ip', ['netns', 'del', space])
  })

  async function gather(
    change: { addresses?: string[]; port?: number } = {},
  ): Promise<ServerFacts> {
    const { addresses = [], port = 0 } = change
    return gatherFacts(
      {
        requiredTools: () => [
          { program: 'ip', package: 'iproute2' },
          { program: 'no-such-program', package: 'none' },
        ],
        folder: async () => [],
        database: async () => null,
      },
      {
        server: 'kw1',
        version: '1.0.0',
        console: { host: '127.0.0.1', port, protocol: 'http' },
        reception: [],
        link: { host: '127.0.0.1', port: 0 },
        advertise: `${network}.1`,
        dataDir: tmpdir(),
        certificate: null,
        connection: {
          type: 'virtual-ip',
          addresses: addresses.map(address => ({ address, prefix: 24 })),
        },
        sharedFolder: null,
        asked: ['localhost', 'no-such-host.invalid'],
        running: false,
      },
    )
  }

  const judged = (own: ServerFacts, addresses: string[]) =>
    judge({
      own,
      other: undefined,
      otherError: undefined,
      link: undefined,
      connection: {
        type: 'virtual-ip',
        addresses: addresses.map(address => ({ address, prefix: 24 })),
      },
      sharedFolder: null,
      now: Date.now(),
    })

  test('a virtual address that somebody has is told from one that is free', async () => {
    const addresses = [`${network}.2`, `${network}.9`]
    const facts = await gather({ addresses })
    expect(facts.probes).toEqual([
      { address: `${network}.2`, answers: true },
      { address: `${network}.9`, answers: false },
    ])
    const finding = judged(facts, addresses).find(({ id }) => id === 'virtual-address')
    expect(finding).toMatchObject({
      result: 'failure',
      text: `somebody answers at ${network}.2 already, says kw1`,
    })
  })

  test('an address by a lease is told from one that was set by hand', async () => {
    const { addresses } = await gather()
    const on = addresses.filter(one => one.interface === here)
    expect(on).toMatchObject([
      { address: `${network}.1`, prefix: 24, loopback: false, dynamic: false },
      { address: '2001:db8:77::1', prefix: 64, loopback: false, dynamic: true },
    ])
  })

  test('names, programs, rights and ports are as they are', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as { port: number }
    const facts = await gather({ port })
    taken.close()
    expect(facts.ports).toEqual([{ name: 'console', port, state: 'taken' }])
    expect(facts.lookups).toContainEqual({ asked: 'no-such-host.invalid', found: [] })
    expect(facts.lookups.find(({ asked }) => asked === 'localhost')!.found).toContain('127.0.0.1')
    expect(facts.tools.map(({ present }) => present)).toEqual([true, false])
    expect(facts).toMatchObject({ root: true, netAdmin: true, git: expect.any(String) })
    expect(facts.disk!.totalBytes).toBeGreaterThan(facts.disk!.freeBytes)
    expect(facts.memoryBytes).toBeGreaterThan(2 ** 28)
  })
})
