/**
 * Two collectors of a pair with everything that can happen to them, at random: datagrams that one of
 * them misses or gets late, segments that are claimed and not stored, answers that are lost, crashes,
 * takeovers of which the old active learns late or never, an active that takes the other for dead
 * though it lives. No store ever has a datagram twice, and what
 * a server heard that did not crash is in both stores in the end.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createLog } from '../lib/log.ts'
import { type AloneFile, createAloneFile } from './alone-file.ts'
import type { Arrival, Intake } from './intake.ts'
import { createManifestBuilder, encodeManifest, type Manifest, termOf } from './manifest.ts'
import { createReception, type Reception } from './reception.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'keepwatch-reception-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

const clock = { wall: () => 1000, monotonic: () => 1000 }
const log = createLog({ level: 'silent', part: 'test' })

interface Segment {
  id: string
  sequence: number
  manifest: Manifest
  numbers: number[]
  settled: boolean
}

/** A server with its collector, as far as reception goes. */
function createServer(name: string, folder: string) {
  const spool: Segment[] = []
  const store = new Map<string, number[]>()
  const storing = new Map<string, { id: string; numbers: number[] }>()
  const claimed = new Set<string>()
  /** Segments that may be sent, and what of them is here already. */
  const admitted = new Map<string, readonly number[]>()
  /** What this server is told that the other has, and does not deliver any more. */
  const leftOut = new Set<number>()
  /** What it heard since it was started. */
  const heard = new Set<number>()
  let made = 0
  let alive = true
  let crashed = false
  let reception: Reception
  let alone: AloneFile
  let open: number[]
  let whileWriting: (() => void) | undefined
  let builder = createManifestBuilder()

  function boot() {
    open = []
    heard.clear()
    builder = createManifestBuilder()
    storing.clear()
    claimed.clear()
    admitted.clear()
    const intake = {
      take(arrival: Arrival) {
        builder.open(arrival.hash, arrival.source)
        open.push(arrival.hash)
        builder.close(open.length)
      },
      sealAll() {
        if (open.length === 0) return
        const manifest = builder.seal(open.length, reception.rank())
        const onDisk = reception.closed('syslog', manifest)
        const sequence = made++
        const id = `${name}/syslog/${sequence}`
        spool.push({ id, sequence, manifest, numbers: open, settled: false })
        open = []
        const meanwhile = whileWriting
        whileWriting = undefined
        if (meanwhile === undefined) return onDisk()
        void Promise.resolve().then(() => {
          meanwhile()
          onDisk()
        })
      },
      repeated: () => false,
      hearInform: () => true,
      learn() {},
      activate() {},
      deactivate() {},
      catchUp() {},
      pending: () => [{ rank: reception.rank(), hashes: builder.pending() }],
    }
    alone = createAloneFile(
      { clock, log, stored: ({ sequence }) => store.has(`${name}/syslog/${sequence}`) },
      { file: join(folder, 'alone'), bounds: { ms: 120_000, datagrams: 1e6 } },
    )
    alone.start()
    reception = createReception(
      { clock, log, intake: intake as unknown as Intake, templates: () => undefined, alone },
      { dir: folder, ring: { ms: 90_000, bytes: 1e9 } },
    )
    // The clock stands still, so what a takeover left to remember is all that a restart may know.
    reception.start()
    seal = () => intake.sealAll()
  }
  let seal = () => {}
  boot()

  return {
    name,
    spool,
    store,
    storing,
    claimed,
    admitted,
    leftOut,
    heard,
    get open() {
      return open
    },
    get alive() {
      return alive
    },
    get crashed() {
      return crashed
    },
    get reception() {
      return reception
    },
    get alone() {
      return alone
    },
    hear(number: number) {
      if (!alive) return
      heard.add(number)
      reception.hear({
        listener: 'syslog_udp',
        bytes: Buffer.alloc(1),
        address: '10.0.0.1',
        port: 1,
        received: 1000,
        hash: number,
        source: 'syslog_udp 10.0.0.1',
      })
    },
    seal: () => seal(),
    /** What happens while the next batch is written; that is as long as a claim waits. */
    whileWriting(happens: (() => void) | undefined) {
      whileWriting = happens
    },
    role(active: boolean, term: number) {
      if (!alive) return
      claimed.clear()
      admitted.clear()
      reception.setRole({ active, term }, storing.keys())
    },
    crash() {
      alive = false
      crashed = true
    },
    restart() {
      if (alive) return
      alive = true
      // What was agreed is agreed anew.
      for (const segment of spool) segment.settled = store.has(segment.id)
      boot()
    },
  }
}
type Server = ReturnType<typeof createServer>

/** Claims a segment of `from` at `to`, and leaves out what is another's. */
async function claim(
  from: Server,
  to: Server,
  segment: Segment,
  meanwhile?: () => void,
): Promise<boolean> {
  to.whileWriting(meanwhile)
  const { taken, stored } = await to.reception.claim({
    segment: segment.id,
    manifest: encodeManifest(segment.manifest),
    ageMs: 1e9,
    stored: to.store.has(segment.id) ? 'here' : 'later',
  })
  to.whileWriting(undefined)
  to.claimed.add(segment.id)
  const gone = new Set(taken)
  const there = stored.map(place => segment.numbers[place]!)
  if (gone.size > 0) {
    const own = { kind: 'syslog', sequence: segment.sequence } as const
    // What goes to the own server as it is has to be there first.
    if (from.alone.has(own) && !from.store.has(segment.id)) return false
    from.alone.took(
      own,
      taken.map(place => segment.numbers[place]!),
    )
    for (const place of taken) from.leftOut.add(segment.numbers[place]!)
    segment.numbers = segment.numbers.filter((_, place) => !gone.has(place))
    const builder = createManifestBuilder()
    for (const [index, number] of segment.numbers.entries()) {
      builder.open(number, 'syslog_udp 10.0.0.1')
      builder.close(index + 1)
    }
    segment.manifest = builder.seal(segment.numbers.length, segment.manifest.rank)
    if (segment.numbers.length === 0) {
      from.spool.splice(from.spool.indexOf(segment), 1)
      from.alone.agreed(own)
      return false
    }
  }
  to.admitted.set(segment.id, there)
  if (there.length < segment.numbers.length) return true
  // What is not sent is there.
  segment.settled = true
  return false
}

/** What a connection brings first: what the other has already is claimed before it goes to the own store. */
async function clearReceived(from: Server, to: Server) {
  for (const segment of [...from.spool]) {
    if (segment.settled || !to.store.has(segment.id)) continue
    if (await claim(from, to, segment)) segment.settled = true
  }
}

function begin(to: Server, segment: Segment): boolean {
  const there = to.admitted.get(segment.id)
  if (there === undefined || to.storing.has(segment.id)) return false
  const numbers = segment.numbers.filter(number => !there.includes(number))
  if (numbers.length > 0) to.storing.set(segment.id, { id: segment.id, numbers })
  return numbers.length > 0
}

function end(to: Server, { id }: { id: string }, stored: boolean) {
  const under = to.storing.get(id)
  if (under === undefined) return
  to.storing.delete(id)
  if (stored && !to.store.has(id)) to.store.set(id, under.numbers)
  if (!to.alive) return
  // The active takes back what was agreed until now.
  if (!stored && to.reception.role().active) to.admitted.clear()
  to.reception.ended(id, stored, to.storing.keys())
}

function storeOwn(server: Server) {
  for (const segment of server.spool) {
    const { sequence } = segment
    const goes = segment.settled || server.alone.has({ kind: 'syslog', sequence })
    if (goes && !server.store.has(segment.id)) {
      server.store.set(segment.id, [...segment.numbers])
    }
  }
}

/** Some of it may not have reached the store when the server crashes. */
function storeAlone(server: Server, detail: number) {
  const { term } = server.reception.role()
  for (const { sequence, manifest, settled } of server.spool) {
    const own = { kind: 'syslog', sequence } as const
    const since = Math.max(term - 1, server.reception.otherTerm())
    if (settled || termOf(manifest.rank) < since || server.alone.has(own)) continue
    server.alone.add(own, manifest, 1000)
  }
  if (detail & 1) storeOwn(server)
}

async function deliverAll(from: Server, to: Server, meanwhile?: () => void) {
  await clearReceived(from, to)
  for (const segment of [...from.spool]) {
    if (!to.store.has(segment.id)) {
      if (!(await claim(from, to, segment, meanwhile))) continue
      if (begin(to, segment)) end(to, segment, true)
      if (to.store.has(segment.id)) from.alone.agreed({ ...segment, kind: 'syslog' })
    }
    segment.settled ||= to.store.has(segment.id)
  }
  storeOwn(from)
}

/** The active stores what the other left in the shared folder, without what it took itself. */
async function adopt(by: Server, from: Server) {
  for (const { id, manifest, numbers } of from.spool) {
    if (by.store.has(id) || by.storing.has(id)) continue
    const { taken, stored } = await by.reception.claim({
      segment: id,
      manifest: encodeManifest(manifest),
      ageMs: 1e9,
      stored: 'here',
    })
    const rest = numbers.filter((_, place) => !taken.includes(place) && !stored.includes(place))
    if (rest.length > 0) by.store.set(id, rest)
  }
}

type Step = readonly [what: number, who: number, detail: number]

async function play(steps: readonly Step[], folder: string) {
  const servers = ['a', 'b'].map(name => createServer(name, mkdtempSync(join(folder, name)))) as [
    Server,
    Server,
  ]
  let term = 1
  let active = 0
  let number = 0
  const late: [Server, number][] = []
  servers[0].role(true, term)
  servers[1].role(false, term)
  const oneComesLate = () => {
    const [server, n] = late.shift() ?? []
    server?.hear(n!)
  }
  for (const [what, who, detail] of steps) {
    const [self, other] = who === 0 ? servers : ([servers[1], servers[0]] as const)
    const segment = self.spool[detail % Math.max(1, self.spool.length)]
    switch (what) {
      case 0:
      case 1:
      case 2:
      case 3: {
        number++
        for (const [index, server] of servers.entries()) {
          const luck = (detail >> (2 * index)) & 3
          if (luck === 0 && what === 0) continue
          if (luck === 1 && server.alive) late.push([server, number])
          else server.hear(number)
        }
        break
      }
      case 4:
        oneComesLate()
        break
      case 5:
        if (self.alive) self.seal()
        break
      case 6:
        if (self.alive && other.alive) await deliverAll(self, other, oneComesLate)
        break
      case 7:
        if (self.alive && other.alive && segment && !other.store.has(segment.id)) {
          // It may come long after it was claimed.
          const claimed = (detail & 2) !== 0 || (await claim(self, other, segment, oneComesLate))
          if (claimed && detail & 1) begin(other, segment)
        }
        break
      case 8: {
        const under = [...self.storing.values()][0]
        // The answer may be lost: then its owner asks again some time.
        if (self.alive && under) end(self, under, (detail & 3) !== 0)
        break
      }
      case 9:
        if (detail % 3 !== 0) break
        self.crash()
        // With its socket.
        for (let place = late.length - 1; place >= 0; place--) {
          if (late[place]![0] === self) late.splice(place, 1)
        }
        break
      case 10:
        if (self.alive) break
        self.restart()
        self.role(who === active, who === active ? ++term : term)
        break
      case 11:
        if (!self.alive || who === active) break
        active = who
        self.role(true, ++term)
        break
      case 12:
        // The old active learns that it is not any more.
        if (who !== active) self.role(false, term)
        break
      case 13:
        // Alone, as the one who is active, or believes so, while the other is dead, or seems so.
        if (self.alive && self.reception.role().active) storeAlone(self, detail)
        break
      case 14:
        if (self.alive) storeOwn(self)
        break
      case 15:
        if (self.alive && who === active && segment) await adopt(self, other)
        break
    }
    expectNoDoubles(servers)
    const [acting, standing] = active === 0 ? servers : ([servers[1], servers[0]] as const)
    if (acting.alive && !standing.alive) expectAllAt(acting, standing)
  }
  const survivor = servers.findIndex(server => !server.crashed)
  for (const server of servers) {
    for (const under of [...server.storing.values()]) if (server.alive) end(server, under, true)
  }
  for (const [index, server] of servers.entries()) {
    if (server.alive) continue
    server.restart()
    server.role(index === active, index === active ? ++term : term)
  }
  const last = survivor >= 0 ? survivor : active
  if (last !== active) servers[last]!.role(true, ++term)
  servers[1 - last]!.role(false, term)
  for (let round = 0; round < 3; round++) {
    for (const server of servers) server.seal()
    await deliverAll(servers[0], servers[1])
    await deliverAll(servers[1], servers[0])
  }
  expectNoDoubles(servers)
  for (const { store } of servers) {
    const stored = new Set([...store.values()].flat())
    if (survivor >= 0) {
      expect([...servers[survivor]!.heard].filter(one => !stored.has(one))).toEqual([])
    }
  }
  for (const { store } of servers) {
    expect([...store.values()].flat().toSorted()).toEqual(
      [...servers[0].store.values()].flat().toSorted(),
    )
  }
}

/** The active that is alone needs nothing of what is on the other's disk, save what that one took itself. */
function expectAllAt(acting: Server, dead: Server) {
  const { store, spool, open, storing, heard, leftOut, claimed } = acting
  // What came late waits for a segment that may still come, for a minute.
  const awaited = dead.spool.filter(({ id }) => claimed.has(id))
  const here = new Set([
    ...open,
    ...awaited.flatMap(({ numbers }) => numbers),
    ...[...store.values(), ...[...spool, ...storing.values()].map(({ numbers }) => numbers)].flat(),
  ])
  expect([...heard].filter(one => !here.has(one) && !leftOut.has(one))).toEqual([])
}

function expectNoDoubles(servers: readonly Server[]) {
  for (const { store, name } of servers) {
    const numbers = [...store.values()].flat()
    const doubled = numbers.filter((one, index) => numbers.indexOf(one) !== index)
    expect({ [name]: doubled }).toEqual({ [name]: [] })
  }
}

test('no datagram is stored twice, and none is lost that a living server heard', async () => {
  let plays = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(15), fc.nat(1), fc.nat(255)), { maxLength: 80, size: 'max' }),
      async steps => {
        plays++
        const folder = mkdtempSync(join(dir, 'play-'))
        await play(steps, folder)
        rmSync(folder, { recursive: true })
      },
    ),
    { numRuns: 300 },
  )
  expect(plays).toBeGreaterThanOrEqual(300)
}, 60_000)
