/**
 * A server of a replicated pair that is nothing but its part of the lease, or a voter that is nothing
 * else. Speaks as `member.ts` does.
 */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:https'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { noAddress } from '../../src/failover/address/none.ts'
import { createMajorityLease } from '../../src/failover/lease/majority.ts'
import { createNode, type FailoverNode, linkState } from '../../src/failover/node.ts'
import { createPeer, linkPath } from '../../src/failover/peer.ts'
import { createTermFile } from '../../src/failover/term-file.ts'
import type { Timings } from '../../src/failover/timings.ts'
import { createOwnVoter } from '../../src/failover/vote/own-voter.ts'
import { createVoteLine } from '../../src/failover/vote/vote-line.ts'
import { createVoterLines } from '../../src/failover/vote/voter-lines.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createLog } from '../../src/lib/log.ts'
import { createMetrics } from '../../src/lib/metrics.ts'
import type { Identity } from '../../src/lib/tls.ts'
import type { ServerAddress } from '../../src/lib/upgraded.ts'
import type { Said } from './member.ts'

export interface VoteMemberSettings {
  name: string
  /** Undefined: a voter only. */
  linkPort: number | undefined
  /** That it offers its vote to. */
  servers: ServerAddress[]
  voters: string[]
  /** The servers that have every acknowledged change, as it says while it is active. */
  complete: string[]
  identity: Identity
  timings: Timings
  dataDir: string
}

const settings = JSON.parse(process.argv[2]!) as VoteMemberSettings
const { dataDir, identity, name, timings } = settings
const clock = systemClock
const log = createLog({ level: 'silent', part: name })
const metrics = createMetrics({})
const die = (reason: string) => {
  process.stderr.write(`${reason}\n`)
  process.kill(process.pid, 'SIGKILL')
}

const own = createOwnVoter(
  { clock, log, metrics },
  {
    file: join(dataDir, 'vote.json'),
    ...(settings.linkPort === undefined ? {} : { server: name }),
    rules: { leaseMs: timings.leaseMs, limit: { most: 100, withinMs: 10_000 } },
    roll: { term: 0, version: 0, voters: settings.voters },
  },
)
await own.start()
for (const server of settings.servers) {
  const misunderstood = (_server: string, error: string) => die(error)
  await createVoteLine(
    { identity, own, misunderstood },
    { server: () => server, silentMs: 5 * timings.heartbeatIntervalMs },
  ).start()
}

let node: FailoverNode | undefined
if (settings.linkPort === undefined) say({ said: 'ready' })
else serve(settings.linkPort)

function serve(port: number) {
  const incarnation = randomUUID()
  const electorate = createVoterLines({ clock, log, metrics, own }, { server: name })
  const link = createServer(
    { ...identity, requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      if (request.url !== linkPath || node === undefined) response.writeHead(503).end()
      else response.end(JSON.stringify(linkState(node)))
    },
  )
  link.keepAliveTimeout = 60_000
  link.on('upgrade', (request, socket, head) => {
    if (!electorate.upgrade(request, socket, head)) socket.destroy()
  })
  const [peer] = settings.servers
  const heard = () => own.kept().roll
  node = createNode(
    {
      ...{ clock, log, metrics, die, address: noAddress },
      lease: createMajorityLease(
        { clock, electorate, fatal: error => die(error.message) },
        { name, incarnation, pair: 'pair', timings, complete: () => settings.complete, heard },
      ),
      peer: createPeer({ clock, log, metrics, identity }, { address: () => peer, timings }),
      memory: createTermFile(join(dataDir, 'term.json')),
      work: { start: () => Promise.resolve(), stop: () => Promise.resolve() },
      record: () => Promise.resolve(),
    },
    { name, incarnation, version: '1', timings },
  )
  let last = ''
  node.onChange(({ state, role, term, sentence }) => {
    if (`${state} ${sentence}` === last) return
    last = `${state} ${sentence}`
    say({ said: 'change', at: Date.now(), state, role, term, sentence })
  })
  link.listen(port, '127.0.0.1', () => say({ said: 'ready' }))
}

createInterface(process.stdin).on('line', line => {
  void obey(line)
})

async function obey(command: string) {
  switch (command) {
    case 'start':
      await node!.start()
      return say({ said: 'begun' })
    case 'stop':
      await node!.stop()
      return say({ said: 'stopped' })
    case 'switchover':
      return say({ said: 'switchover', ...node!.switchover() })
  }
}

function say(said: Said) {
  process.stdout.write(`${JSON.stringify(said)}\n`)
}
