import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { AddressAdapter } from '../../src/failover/address/address.ts'
import { createAddressMeter } from '../../src/failover/address/meter.ts'
import { fenceName, updateName } from '../../src/failover/address/name-update.ts'
import { createVirtualName } from '../../src/failover/address/virtual-name.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createLog } from '../../src/lib/log.ts'
import { createMetrics, type Metrics } from '../../src/lib/metrics.ts'
import { createDns, type Dns, lacksDns, zone } from './address-dns.ts'
import { until } from './address-lab.ts'

const lacks = lacksDns()
const title =
  lacks === undefined ? 'a virtual host name' : `a virtual host name (skipped: ${lacks})`

const ofA = ['192.0.2.1', '2001:db8::1']
const ofB = ['192.0.2.2', '2001:db8::2']

describe.skipIf(lacks !== undefined)(title, { timeout: 60_000 }, () => {
  let dns: Dns
  let names = 0
  /** Another for each test. */
  let name: string
  let adapters: { adapter: AddressAdapter; renewing: NodeJS.Timeout }[] = []

  beforeAll(async () => {
    dns = await createDns()
  }, 60_000)
  afterAll(() => dns?.stop(), 30_000)
  afterEach(async () => {
    for (const { renewing } of adapters) clearInterval(renewing)
    await Promise.all(adapters.map(({ adapter }) => adapter.stop()))
    adapters = []
  })

  function server(
    owner: string,
    own: readonly string[],
    changes: { tsig?: Partial<Dns['tsig']>; server?: string } = {},
  ): { adapter: AddressAdapter; metrics: Metrics; lapse(): void } {
    const [clock, metrics] = [systemClock, createMetrics({})]
    const log = createLog({ level: 'silent', part: 'name' })
    const meter = createAddressMeter({ clock, log, metrics })
    const adapter = createVirtualName(
      { clock, log, meter, ownAddresses: () => own },
      {
        ...{ name, owner, ttl: 5, server: changes.server ?? dns.server },
        tsig: { ...dns.tsig, ...changes.tsig },
      },
    )
    const renew = () =>
      adapter.hold({ since: { monotonic: clock.monotonic(), wall: clock.wall() }, ms: 5000 })
    renew()
    const renewing = setInterval(renew, 500)
    adapters.push({ adapter, renewing })
    const lapse = () => {
      clearInterval(renewing)
      adapter.hold(undefined)
    }
    return { adapter, metrics, lapse }
  }

  function next() {
    name = `n${++names}.keepwatch.${zone}`
  }

  const answers = () => dns.answers(dns.primary, name)
  const fault = (one: { adapter: AddressAdapter }) => one.adapter.status().fault ?? ''

  test('leads to the active with all its addresses, and after a takeover to the other', async () => {
    next()
    const a = server('a', ofA)
    await a.adapter.start()
    const before = performance.now()
    await a.adapter.take(1)
    console.log(`take → the primary answers the new: ${(performance.now() - before).toFixed(0)} ms`)
    expect(await answers()).toEqual(ofA)
    expect(await dns.texts(fenceName(name))).toEqual(['term=1 server=a'])
    expect(a.adapter.status()).toMatchObject({ type: 'virtual-name', what: [name], held: true })
    expect(await a.metrics.metrics()).toContain(`keepwatch_address_held{address="${name}"} 1`)

    const b = server('b', ofB)
    await a.adapter.drop()
    expect(await answers(), 'who lets go removes nothing').toEqual(ofA)
    await b.adapter.take(2)
    expect(await answers()).toEqual(ofB)
    expect(await dns.texts(fenceName(name))).toEqual(['term=2 server=b'])
    expect(a.adapter.status().held).toBe(false)
  })

  test('is not changed by an update of an old term that was held up', async () => {
    next()
    const a = server('a', ofA)
    await a.adapter.take(1)
    const read = [[`term=1 server=a`]]
    const b = server('b', ofB)
    await b.adapter.take(2)
    // What the old active had read and composed before it was frozen, and sends when it wakes.
    const late = await updateName(
      {
        ...{ name, zone, server: dns.primary, ttl: 5, tsig: dns.tsig, addresses: ofA, read },
        owner: { term: 1, server: 'a' },
      },
      new AbortController().signal,
    )
    expect(late).toEqual({ outcome: 'changed' })
    expect(await answers()).toEqual(ofB)

    await a.adapter.drop()
    await a.adapter.take(1)
    expect(await answers()).toEqual(ofB)
    expect(fault(a)).toContain(`${name} belongs to b in the later term 2`)
    expect(await a.metrics.metrics()).toContain('reason="name-superseded"')
  })

  test('is not changed without a hold, and put back with one', async () => {
    next()
    const a = server('a', ofA)
    await a.adapter.take(3)
    a.lapse()
    const key = `key ${dns.tsig.algorithm}:${dns.tsig.name} ${dns.tsig.secret}`
    await nsupdate(
      `server 127.0.0.1 ${dns.primary.port}`,
      ...[key, `update delete ${name}. A`, `update add ${name}. 5 A 192.0.2.99`, 'send'],
    )
    expect(await answers()).toEqual(['192.0.2.99', '2001:db8::1'])
    const lapsed = server('a', ofA)
    lapsed.lapse()
    await lapsed.adapter.take(3)
    expect(await answers(), 'without a hold').toEqual(['192.0.2.99', '2001:db8::1'])
    const again = server('a', ofA)
    await again.adapter.take(3)
    await until(async () => (await answers()).join() === ofA.join(), 'not put back')
  })

  test.each([
    [
      'a wrong secret',
      { tsig: { secret: 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=' } },
      'signature',
    ],
    ['an unknown key', { tsig: { name: 'other' } }, 'does not know the key other'],
    ['a secret that is none', { tsig: { secret: 'x y\nsend' } }, 'is not base64'],
    ['a missing secret', { tsig: { secret: '' } }, 'is not known'],
    ['a name server that is not there', { server: '127.0.0.1:9' }, 'refuses the connection'],
    [
      'a name server of no such name',
      { server: 'ns.invalid' },
      'there is no name server ns.invalid',
    ],
  ])('with %s says so', async (_what, changes, expected) => {
    next()
    const a = server('a', ofA, changes)
    await a.adapter.take(1)
    await until(
      async () => fault(a).includes(expected),
      () => `it says: ${fault(a)}`,
    )
    expect(a.adapter.status().held).toBe(false)
    expect(await a.metrics.metrics()).toContain('reason="name-update"')
    expect(fault(a)).not.toContain(dns.tsig.secret)
  })

  test('outside of what the key may change says what the policy lacks', async () => {
    name = `elsewhere.${zone}`
    const a = server('a', ofA)
    await a.adapter.take(1)
    await until(async () => fault(a) !== '', 'no fault')
    expect(fault(a)).toContain(`grant … subdomain ${name}. A AAAA TXT`)
  })

  test('names the name server that still gives the old answer, until it has the new one', async () => {
    next()
    const a = server('a', ofA)
    await a.adapter.take(1)
    expect(a.adapter.status().held).toBe(true)
    await until(async () => fault(a) !== '', 'no fault')
    expect(fault(a)).toBe(`ns2.${zone} (::1) still answers nothing`)
    await until(
      async () => (await a.metrics.metrics()).includes('reason="name-lagging"'),
      'not counted',
    )
    await dns.notify()
    await until(
      async () => (await dns.answers(dns.secondary, name)).join() === ofA.join(),
      'the secondary has not got it',
    )
    // Taken anew, so that the next look is not half a minute away.
    await a.adapter.drop()
    await a.adapter.take(2)
    await until(
      async () => fault(a) === '',
      () => fault(a),
    )
  })

  test('does not hold up a takeover when the name server hangs, and follows when it wakes', async () => {
    next()
    const a = server('a', ofA)
    dns.signal('SIGSTOP')
    try {
      const before = performance.now()
      await a.adapter.take(1)
      const ms = performance.now() - before
      console.log(`take with a name server that hangs: ${ms.toFixed(0)} ms`)
      expect(ms).toBeLessThan(2000)
      await until(
        async () => fault(a).includes('does not answer'),
        () => fault(a),
      )
    } finally {
      dns.signal('SIGCONT')
    }
    await until(
      async () => a.adapter.status().held,
      () => fault(a),
      20_000,
    )
    expect(await answers()).toEqual(ofA)
  })

  test('keeps the secret out of command lines and environments', async () => {
    next()
    const seen: string[] = []
    const watching = setInterval(() => seen.push(...processes()), 1)
    const a = server('a', ofA)
    await a.adapter.take(1)
    clearInterval(watching)
    expect(await answers()).toEqual(ofA)
    expect(seen.length).toBeGreaterThan(0)
    expect(seen.filter(text => text.includes(dns.tsig.secret))).toEqual([])
  })
})

/** Command lines and environments of the processes that this one has started. */
function processes(): string[] {
  return readdirSync('/proc')
    .filter(pid => /^\d+$/.test(pid))
    .flatMap(pid => {
      try {
        const parent = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')[1]
        if (Number(parent) !== process.pid) return []
        return ['cmdline', 'environ'].map(file => readFileSync(`/proc/${pid}/${file}`, 'latin1'))
      } catch {
        return []
      }
    })
}

function nsupdate(...lines: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('nsupdate', ['-v', '-t', '3'], { stdio: ['pipe', 'ignore', 'inherit'] })
    child.once('close', code => (code === 0 ? resolve() : reject(new Error(`nsupdate: ${code}`))))
    child.stdin.end(`${lines.join('\n')}\n`)
  })
}
