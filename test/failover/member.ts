/**
 * A server that is nothing but its part of a pair. Reads its settings from the first argument,
 * commands from standard input, and writes what happens as JSON lines to standard output.
 */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:https'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { noAddress } from '../../src/failover/address/none.ts'
import type { TakeoverLimit } from '../../src/failover/lease/grant.ts'
import { createRowLease } from '../../src/failover/lease/row.ts'
import { createNode, type FailoverNode, linkState } from '../../src/failover/node.ts'
import { createPeer, linkPath, type PeerAddress } from '../../src/failover/peer.ts'
import { createTermFile } from '../../src/failover/term-file.ts'
import type { Timings } from '../../src/failover/timings.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { databaseTargets } from '../../src/lib/database-hosts.ts'
import { createLog } from '../../src/lib/log.ts'
import { createMetrics } from '../../src/lib/metrics.ts'
import type { Identity } from '../../src/lib/tls.ts'
import { createDatabase, type Database } from '../../src/store/postgres/database.ts'
import { createRoleChanges } from '../../src/store/postgres/role-changes.ts'

export interface MemberSettings {
  name: string
  /** One host, or several of which one takes writes. */
  databaseUrl: string
  dataDir: string
  log: 'warn' | 'silent'
  takeovers: TakeoverLimit
  linkPort: number
  peer: PeerAddress
  identity: Identity
  timings: Timings
}

export type Said =
  | { said: 'ready' }
  | { said: 'change'; at: number; state: string; role: string; term: number; sentence: string }
  | { said: 'begun' | 'stopped' }
  | { said: 'switchover'; accepted: boolean; sentence: string }
  | { said: 'written'; term: number; refused: number }
  /** Of the hammering: the first write of a term that succeeded, or that was refused. */
  | { said: 'first-write' | 'first-refusal'; term: number }
  /** Of a database that is replicated, see `replicated-member.ts`. */
  | { said: 'leads'; term: number; ms: number }
  | { said: 'follows' }
  | { said: 'not-copied'; because: string }
  | { said: 'acknowledging'; kind: string }
  | { said: 'told'; complete: string[] }
  | { said: 'acknowledged'; term: number; number: number }

const settings = JSON.parse(process.argv[2]!) as MemberSettings
const clock = systemClock
const log = createLog({ level: settings.log, part: settings.name })

let node: FailoverNode | undefined
let database: Database | undefined
let hammered: number | undefined

const link = createServer(
  { ...settings.identity, requestCert: true, rejectUnauthorized: true },
  (request, response) => {
    if (request.url !== linkPath || node === undefined) response.writeHead(503).end()
    else response.end(JSON.stringify(linkState(node)))
  },
)
link.keepAliveTimeout = 60_000
link.listen(settings.linkPort, '127.0.0.1', () => say({ said: 'ready' }))

createInterface(process.stdin).on('line', line => {
  void obey(line)
})

async function obey(command: string) {
  switch (command) {
    case 'start':
      return begin()
    case 'stop':
      await node?.stop()
      await database?.stop()
      node = undefined
      return say({ said: 'stopped' })
    case 'switchover':
      return say({ said: 'switchover', ...node!.switchover() })
    case 'hammer':
      return hammer(fencedWrite)
    case 'hammer-unfenced':
      return hammer(unfencedWrite)
    case 'unwell':
      return node!.health('its disk is full')
    case 'well':
      return node!.health(undefined)
    case 'freeze-in-transaction':
      return void database!
        .fenced(hammered!, { name: settings.name }, async () => {
          process.kill(process.pid, 'SIGSTOP')
          await pause(60_000)
        })
        .catch(() => {})
    case 'hang':
      for (;;);
    case 'exit':
      process.exit(0)
  }
}

async function begin() {
  const { identity, name, takeovers, timings } = settings
  const incarnation = randomUUID()
  const metrics = createMetrics({})
  const applicationName = `keepwatch/${name}/${incarnation}`
  const store = createDatabase(
    { log, metrics, clock },
    { url: settings.databaseUrl, applicationName, poolSize: 4 },
  )
  database = store
  await store.start()
  const history = createRoleChanges({ database: store })
  const die = (reason: string) => {
    process.stderr.write(`${reason}\n`)
    process.kill(process.pid, 'SIGKILL')
  }
  node = createNode(
    {
      ...{ clock, log, metrics, die },
      lease: createRowLease(
        { clock, fatal: error => die(error.message) },
        { name, incarnation, timings, takeovers, targets: databaseTargets(settings.databaseUrl) },
      ),
      peer: createPeer(
        { clock, log, metrics, identity },
        { address: () => settings.peer, timings },
      ),
      address: noAddress,
      memory: createTermFile(join(settings.dataDir, 'term.json')),
      work: {
        async start(term) {
          hammered = term
        },
        async stop() {},
      },
      record: change => history.append(change),
    },
    { name, incarnation, version: '1', timings },
  )
  let last = ''
  node.onChange(({ state, role, term, sentence }) => {
    if (`${state} ${sentence}` === last) return
    last = `${state} ${sentence}`
    say({ said: 'change', at: Date.now(), state, role, term, sentence })
  })
  await node.start()
  say({ said: 'begun' })
}

/** The worst client: goes on with the term that it once had, whatever the lease says. */
async function hammer(write: (term: number) => Promise<unknown>) {
  let refused = 0
  let lastWritten: number | undefined
  let lastRefused: number | undefined
  for (;;) {
    const term = hammered
    if (term === undefined) await pause(5)
    else {
      try {
        await write(term)
        if (lastWritten !== term) say({ said: 'first-write', term })
        lastWritten = term
      } catch {
        if (lastRefused !== term) say({ said: 'first-refusal', term })
        lastRefused = term
        refused++
        if (refused % 20 === 1) say({ said: 'written', term, refused })
        await pause(20)
      }
      await pause(1)
    }
  }
}

const insertion = `INSERT INTO audit (who, action, subject, term) VALUES ($1, 'hammer', '', $2)`

function fencedWrite(term: number) {
  const { name } = settings
  return database!.fenced(term, { name }, tx => tx.query(insertion, [name, tx.term]))
}

/** What a program would do that knows no fence; refused as long as the trigger is there. */
function unfencedWrite(term: number) {
  return database!.query(insertion, [settings.name, term])
}

function pause(ms: number) {
  return new Promise(resolve => setTimeout(resolve, ms))
}

function say(said: Said) {
  process.stdout.write(`${JSON.stringify(said)}\n`)
}
