import { afterEach, expect, test } from 'vitest'
import { createKeeper, type Keeper } from './keeper.ts'
import type { KeeperReport } from './keeper-protocol.ts'
import type { Kernel } from './kernel.ts'
import type { Change, Link } from './plan.ts'

const address = '192.0.2.200'
const change: Omit<Change, 'do'> = { address, prefix: 24, link: 'eth0' }
const config = { addresses: [{ address, prefix: 24 }], peerMacs: ['02:00:00:00:00:0b'], own: [] }

let keepers: Keeper[] = []
afterEach(async () => {
  await Promise.all(keepers.map(keeper => keeper.stop().catch(() => {})))
  keepers = []
})

/** A kernel of one interface, and a clock that stands still until it is told. */
function host(overrides: Partial<Kernel> = {}) {
  const now = { monotonic: 1_000_000, wall: 5_000_000 }
  const link: Link = {
    ...{ name: 'eth0', loopback: false, up: true, carrier: true, mac: '02:00:00:00:00:0a' },
    addresses: [{ address: '192.0.2.1', prefix: 24, permanent: true }],
  }
  const done: string[] = []
  const reports: KeeperReport[] = []
  const kernel: Kernel = {
    links: async () => structuredClone([link]),
    async apply(changes, seconds) {
      for (const { do: what, address, prefix } of changes) {
        done.push(what === 'add' ? `add ${address} for ${seconds} s` : `delete ${address}`)
        link.addresses = link.addresses.filter(one => one.address !== address)
        if (what === 'add') link.addresses.push({ address, prefix, permanent: false })
      }
    },
    extend: async (_held, seconds) => void done.push(`extend for ${seconds} s`),
    probe: async () => [],
    announce: async () => {},
    async linger(held, seconds) {
      done.push(`linger ${held.map(one => one.address)} for ${seconds} s`)
      link.addresses = link.addresses.filter(
        one => !held.some(that => that.address === one.address),
      )
      return async () => void done.push('linger no more')
    },
    ...overrides,
  }
  const memory = {
    read: async () => [],
    write: async (addresses: readonly string[]) => void done.push(`remember ${addresses.join()}`),
  }
  const clock = { monotonic: () => now.monotonic, wall: () => now.wall }
  const keeper = createKeeper(
    { clock, kernel, memory, report: report => reports.push(report) },
    config,
  )
  keepers.push(keeper)
  return {
    ...{ keeper, done, reports, link },
    hold: (ms: number) => keeper.hold({ since: { ...now }, ms }),
    pass(ms: number) {
      now.monotonic += ms
      now.wall += ms
    },
    setBack: (ms: number) => {
      now.wall -= ms
    },
    has: () => link.addresses.some(one => one.address === address),
  }
}

async function until(holds: () => boolean, evidence: () => string) {
  const deadline = performance.now() + 5000
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(evidence())
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

test('an address is remembered before it is added, and the kernel told when to drop it', async () => {
  const { keeper, done, hold } = host()
  await keeper.open(undefined, undefined)
  hold(8000)
  await keeper.take(1)
  expect(done).toEqual([`remember ${address}`, `add ${address} for 8 s`, 'extend for 8 s'])
})

test('nothing is taken without a hold, or with one that is over', async () => {
  const { keeper, done, hold, pass } = host()
  await keeper.open(undefined, undefined)
  await keeper.take(1)
  hold(1000)
  pass(1000)
  await keeper.take(1)
  expect(done).toEqual([])
})

test('an address is not added when the hold ends during the probe', async () => {
  const probe = Promise.withResolvers<string[]>()
  const { keeper, done, hold, pass } = host({ probe: () => probe.promise })
  await keeper.open(undefined, undefined)
  hold(1000)
  const taken = keeper.take(1)
  pass(1000)
  probe.resolve([])
  await taken
  expect(done.filter(what => what.startsWith('add'))).toEqual([])
})

test('a drop while a take is under way wins', async () => {
  const { keeper, done, hold, has } = host({
    probe: (_address, _link, signal) =>
      new Promise(resolve => signal.addEventListener('abort', () => resolve([]))),
  })
  await keeper.open(undefined, undefined)
  hold(8000)
  const taken = keeper.take(1)
  await keeper.drop()
  await taken
  expect(done).toEqual([])
  expect(has()).toBe(false)
})

test('an address that is handed over lingers before it is dropped, until it is taken again', async () => {
  const { keeper, done, hold } = host()
  await keeper.open(undefined, undefined)
  hold(8000)
  await keeper.take(1)
  done.length = 0
  await keeper.drop()
  await keeper.drop()
  expect(done).toEqual([`linger ${address} for 6 s`])
  hold(8000)
  await keeper.take(2)
  expect(done.slice(1, 3)).toEqual(['linger no more', `add ${address} for 8 s`])
})

test('what was under way when an address is handed over does not delete it before it lingers', async () => {
  let look = Promise.resolve()
  const { keeper, done, hold, link } = host({
    async links() {
      await look
      return structuredClone([link])
    },
  })
  await keeper.open(undefined, undefined)
  hold(8000)
  await keeper.take(1)
  done.length = 0
  const looking = Promise.withResolvers<void>()
  look = looking.promise
  const compared = keeper.take(1)
  const dropped = keeper.drop()
  looking.resolve()
  await Promise.all([compared, dropped])
  expect(done).toEqual([`linger ${address} for 6 s`])
})

test('an address that is dropped, taken and dropped in one go lingers too', async () => {
  const { keeper, done, hold, has } = host()
  await keeper.open(undefined, undefined)
  hold(8000)
  await keeper.take(1)
  done.length = 0
  await Promise.all([keeper.drop(), keeper.take(2), keeper.drop()])
  expect(done).toEqual([`linger ${address} for 6 s`])
  expect(has()).toBe(false)
})

test('nothing lingers when the hold is over, and when the server stops', async () => {
  const { keeper, done, hold, pass } = host()
  await keeper.open(undefined, undefined)
  hold(8000)
  await keeper.take(1)
  pass(8000)
  await keeper.drop()
  hold(8000)
  await keeper.take(2)
  await keeper.stop()
  expect(done.filter(what => what.startsWith('linger'))).toEqual([])
})

test('an address that cannot linger is dropped all the same', async () => {
  const { keeper, reports, has, hold } = host({
    linger: () => Promise.reject(new Error('read-only file system')),
  })
  await keeper.open(undefined, undefined)
  hold(8000)
  await keeper.take(1)
  await keeper.drop()
  expect(has()).toBe(false)
  expect(reports).toContainEqual({
    ...{ say: 'problem', reason: 'linger', detail: { error: 'read-only file system' } },
  })
})

test('an address goes when its hold is over, and comes back with a new one', async () => {
  const { keeper, done, hold, pass, has, reports } = host()
  await keeper.open(undefined, undefined)
  hold(8000)
  await keeper.take(1)
  pass(8000)
  await until(
    () => !has(),
    () => done.join('; '),
  )
  expect(reports).toContainEqual({ say: 'problem', reason: 'expired', detail: { term: 1 } })
  hold(8000)
  await until(has, () => done.join('; '))
})

test('an address goes when the wall clock is set back: nobody knows how long a suspend was', async () => {
  const { keeper, hold, setBack, has } = host()
  await keeper.open(undefined, undefined)
  hold(8000)
  await keeper.take(1)
  expect(has()).toBe(true)
  setBack(3_600_000)
  await until(
    () => !has(),
    () => 'still there',
  )
})

test('a keeper that replaces another leaves what may be held, and drops what may not', async () => {
  const there = host()
  there.link.addresses.push({ address, prefix: 24, permanent: false })
  there.hold(8000)
  await there.keeper.open({ since: { monotonic: 1_000_000, wall: 5_000_000 }, ms: 8000 }, 4)
  expect(there.has()).toBe(true)
  expect(there.done).not.toContain(`delete ${address}`)
  const passive = host()
  passive.link.addresses.push({ address, prefix: 24, permanent: false })
  await passive.keeper.open(undefined, undefined)
  expect(passive.has()).toBe(false)
})

test('a stranger who answers is named and asked again after 5 s; the fenced peer is overruled', async () => {
  let answers = ['02:00:00:00:00:99']
  let probes = 0
  const { keeper, hold, pass, has, reports } = host({
    async probe() {
      probes++
      return answers
    },
  })
  await keeper.open(undefined, undefined)
  hold(60_000)
  await keeper.take(1)
  expect(has()).toBe(false)
  expect(reports).toContainEqual({
    ...{ say: 'status', held: [] },
    faults: [`${address} is in use by another machine (MAC 02:00:00:00:00:99)`],
  })
  await keeper.take(1)
  expect(probes, 'not before 5 s').toBe(1)
  pass(5000)
  answers = ['02:00:00:00:00:0b']
  await keeper.take(1)
  expect(has()).toBe(true)
  expect(reports).toContainEqual({
    ...{ say: 'conflict', with: 'peer', address },
    macs: ['02:00:00:00:00:0b'],
  })
})

test('an address that the server had before it was set as virtual is left alone', async () => {
  const { keeper, link, done, hold, has, reports } = host()
  link.addresses.push({ address, prefix: 24, permanent: true })
  await keeper.open(undefined, undefined)
  hold(8000)
  await keeper.take(1)
  await keeper.drop()
  expect(has()).toBe(true)
  expect(done).toEqual([])
  const { faults } = reports.at(-1) as { faults: string[] }
  expect(faults.join()).toContain('an address that this server has for itself')
})

test('an address that somebody gives to a passive server later is dropped', async () => {
  const { keeper, link, has } = host()
  await keeper.open(undefined, undefined)
  link.addresses.push({ address, prefix: 24, permanent: true })
  await keeper.drop()
  expect(has()).toBe(false)
})

test('its own other interface does not count as somebody else', async () => {
  const { keeper, hold, has } = host({ probe: async () => ['02:00:00:00:00:0a'] })
  await keeper.open(undefined, undefined)
  hold(8000)
  await keeper.take(1)
  expect(has()).toBe(true)
})

test('a drop that the kernel refuses is an error', async () => {
  const refusing = host({
    async apply(changes) {
      if (changes.some(one => one.do === 'delete')) throw new Error('not permitted')
    },
  })
  refusing.link.addresses.push({ ...change, permanent: false })
  await expect(refusing.keeper.open(undefined, undefined)).rejects.toThrow('not permitted')
  await expect(refusing.keeper.drop()).rejects.toThrow('not permitted')
})

test('where the kernel cannot be asked, and nothing was ever added, there is nothing to drop', async () => {
  const without = host({
    links: async () => {
      throw new Error('ip is missing')
    },
  })
  await without.keeper.open(undefined, undefined)
  without.hold(8000)
  await without.keeper.take(1)
  await without.keeper.drop()
  expect(without.reports.at(-1)).toEqual({ say: 'status', held: [], faults: ['ip is missing'] })
})

test('what had gone by itself when it was to be deleted is no error', async () => {
  const { keeper, link, has } = host({
    async apply() {
      link.addresses = link.addresses.filter(one => one.address !== address)
      throw new Error('Address not found')
    },
  })
  link.addresses.push({ ...change, permanent: false })
  await keeper.open(undefined, undefined)
  await keeper.drop()
  expect(has()).toBe(false)
})
