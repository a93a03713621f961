/**
 * A server of a replicated pair: its part of the lease, and its database, which leads when it does and
 * else follows. Writes numbers while it is active. Speaks as `member.ts` does.
 */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:https'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import pg from 'pg'
import { noAddress } from '../../src/failover/address/none.ts'
import { createMajorityLease } from '../../src/failover/lease/majority.ts'
import { createNode, type FailoverNode, linkState } from '../../src/failover/node.ts'
import { createPeer, linkPath } from '../../src/failover/peer.ts'
import { createTermFile } from '../../src/failover/term-file.ts'
import type { Timings } from '../../src/failover/timings.ts'
import {
  type Acknowledging,
  type AcknowledgingEvent,
  completeIn,
  stepAcknowledging,
} from '../../src/failover/vote/acknowledging.ts'
import { createOwnVoter } from '../../src/failover/vote/own-voter.ts'
import { createVoteLine } from '../../src/failover/vote/vote-line.ts'
import { createVoterLines } from '../../src/failover/vote/voter-lines.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createLog } from '../../src/lib/log.ts'
import { createMetrics } from '../../src/lib/metrics.ts'
import type { Identity } from '../../src/lib/tls.ts'
import type { ServerAddress } from '../../src/lib/upgraded.ts'
import { createReplicatedDatabase } from '../../src/store/postgres/replica/replicated.ts'
import { createTunnelEntry, createTunnelExit } from '../../src/store/postgres/replica/tunnel.ts'

export interface ReplicatedSettings {
  name: string
  linkPort: number
  databasePort: number
  other: ServerAddress
  voters: string[]
  identity: Identity
  timings: Timings
  dataDir: string
  /** Makes a database of its own. */
  first: boolean
  /** Of the database; both have the same. */
  password: string
  /** Changes wait for a server that is missing for so long. */
  patienceMs: number
}

const settings = JSON.parse(process.argv[2]!) as ReplicatedSettings
const { dataDir, identity, name, other, timings } = settings
const clock = systemClock
const log = createLog({ level: 'silent', part: name })
const metrics = createMetrics({})
const incarnation = randomUUID()
const die = (reason: string) => {
  process.stderr.write(`${name}: ${reason}\n`)
  process.kill(process.pid, 'SIGKILL')
}
const misunderstood = (_server: string, error: string) => die(error)

let acknowledging: Acknowledging = { kind: 'alone' }
/** What a majority of voters has heard last. */
let heard = { complete: '', term: 0 }
let awaited: { term: number; heard: () => void } | undefined

function hearing(term: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  awaited = { term, heard: resolve }
  return promise
}

function decide(event: AcknowledgingEvent) {
  const config = { self: name, patienceMs: settings.patienceMs, settleMs: 2000 }
  const taken = stepAcknowledging(acknowledging, event, config, clock.monotonic())
  if (taken.state.kind !== acknowledging.kind)
    say({ said: 'acknowledging', kind: taken.state.kind })
  acknowledging = taken.state
  return taken.waitFor
}

const own = createOwnVoter(
  { clock, log, metrics },
  {
    ...{ file: join(dataDir, 'vote.json'), server: name },
    rules: { leaseMs: timings.leaseMs, limit: { most: 100, withinMs: 10_000 } },
    roll: { term: 0, version: 0, voters: settings.voters },
  },
)
const electorate = createVoterLines({ clock, log, metrics, own }, { server: name })
const exit = createTunnelExit(
  { clock, log, metrics },
  { port: () => settings.databasePort, self: name },
)
const entry = createTunnelEntry({ identity }, { server: () => other, port: 0 })
const database = createReplicatedDatabase(
  {
    ...{ clock, log },
    acknowledgement: {
      begin(term) {
        acknowledging = { kind: 'alone' }
        // What was said before may have named the other too, from when this server led last.
        const known = heard.term === term && heard.complete === name
        return known ? Promise.resolve() : hearing(term)
      },
      look: follower => decide({ type: 'looked', follower }),
    },
  },
  {
    ...{ dataDir: join(dataDir, 'database'), leftBehind: join(dataDir, 'left-behind') },
    port: settings.databasePort,
    ...{ self: name, other: () => other.name, mayCreate: () => settings.first },
    ...{ password: settings.password, keepMegabytes: 1024 },
    upstream: () => `postgresql://keepwatch:${settings.password}@127.0.0.1:${entry.port}/keepwatch`,
  },
)

let node: FailoverNode | undefined
const link = createServer(
  { ...identity, requestCert: true, rejectUnauthorized: true },
  (request, response) => {
    if (request.url !== linkPath || node === undefined) response.writeHead(503).end()
    else response.end(JSON.stringify(linkState(node)))
  },
)
link.keepAliveTimeout = 60_000
link.on('upgrade', (request, socket, head) => {
  if (electorate.upgrade(request, socket, head) || exit.upgrade(request, socket, head)) return
  socket.destroy()
})

const lease = createMajorityLease(
  { clock, electorate, fatal: error => die(error.message) },
  {
    ...{ name, incarnation, pair: 'pair', timings },
    complete: () => completeIn(acknowledging, name),
    heard: () => own.kept().roll,
    told(complete, term) {
      if (`${complete}` !== heard.complete) say({ said: 'told', complete })
      heard = { complete: `${complete}`, term }
      if (awaited?.term === term && heard.complete === name) awaited.heard()
      const change = decide({ type: 'told', complete })
      if (change !== undefined) database.acknowledge(change.follower)
    },
    read(complete) {
      const lacks = complete.length > 0 && !complete.includes(name)
      node!.health(lacks ? 'it lacks changes that were acknowledged' : undefined)
    },
  },
)
let writing: { stop(): Promise<void> } | undefined
let following: AbortController | undefined
let turns: Promise<unknown> = Promise.resolve()

/** One after the other: the database is led, or follows, and never both. */
function inTurn(work: () => Promise<void>): Promise<void> {
  const done = turns.then(work)
  turns = done.catch(() => {})
  return done
}

node = createNode(
  {
    ...{ clock, log, metrics, die, lease, address: noAddress },
    peer: createPeer({ clock, log, metrics, identity }, { address: () => other, timings }),
    memory: createTermFile(join(dataDir, 'term.json')),
    work: {
      start(term) {
        following?.abort()
        return inTurn(async () => {
          const began = performance.now()
          await database.lead(term)
          writing = startWriting(term)
          say({ said: 'leads', term, ms: Math.round(performance.now() - began) })
        })
      },
      stop: () =>
        inTurn(async () => {
          await writing?.stop()
          writing = undefined
        }),
    },
    record: () => Promise.resolve(),
  },
  { name, incarnation, version: '1', timings },
)

let last = ''
node.onChange(({ role, sentence, state, term }) => {
  if (`${state} ${sentence}` === last) return
  last = `${state} ${sentence}`
  say({ said: 'change', at: Date.now(), state, role, term, sentence })
})
// Who is active may become known while nothing that it says of itself changes.
setInterval(() => {
  const { active, state } = node!.status()
  if (state === 'standby' && active === other.name) follow()
}, timings.heartbeatIntervalMs)

function follow() {
  if (following !== undefined || database.state().doing === 'follows') return
  const stop = new AbortController()
  following = stop
  void inTurn(async () => {
    try {
      if (!stop.signal.aborted) await database.follow(stop.signal)
      say({ said: 'follows' })
    } catch (error) {
      say({ said: 'not-copied', because: (error as Error).message })
    }
    following = undefined
  })
}

/** Numbers, each acknowledged before the next; a term has its own. */
function startWriting(term: number) {
  const client = new pg.Client({ connectionString: database.url })
  let stopped = false
  client.on('error', () => {})
  const done = (async () => {
    await client.connect()
    await client.query(
      'CREATE TABLE IF NOT EXISTS numbers (term integer, number integer, PRIMARY KEY (term, number))',
    )
    for (let number = 1; !stopped; number++) {
      await client.query('INSERT INTO numbers VALUES ($1, $2)', [term, number])
      say({ said: 'acknowledged', term, number })
      await new Promise(resolve => setTimeout(resolve, 5))
    }
  })().catch(() => {})
  return {
    async stop() {
      stopped = true
      await client.end().catch(() => {})
      await done
    },
  }
}

await own.start()
await entry.start()
await createVoteLine(
  { identity, own, misunderstood },
  { server: () => other, silentMs: 5 * timings.heartbeatIntervalMs },
).start()
link.listen(settings.linkPort, '127.0.0.1', () => say({ said: 'ready' }))

createInterface(process.stdin).on('line', line => {
  void obey(line)
})

async function obey(command: string) {
  switch (command) {
    case 'start':
      await database.start()
      await node!.start()
      return say({ said: 'begun' })
    case 'switchover':
      return say({ said: 'switchover', ...node!.switchover() })
  }
}

function say(said: object) {
  process.stdout.write(`${JSON.stringify(said)}\n`)
}
