/**
 * `npm run soak -- --hours N [--seed S] [--replicated]`: random faults, several at once, healed after random times;
 * after each round a pair must be there again, and the witnesses must have seen nothing wrong. Prints
 * a line a round. Stops at the first violation, with all evidence in a folder, and the seed.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createRandom } from '../fixtures/mutate.ts'
import { type Broken, type Fault, faults } from './faults.ts'
import { type Lab, openLab, throughCollector, throughVirtual, toBoth } from './lab.ts'
import { labObstacle } from './network.ts'
import { clocksCanBeSet } from './server.ts'

const timings = { heartbeatMs: 500, leaseMs: 4000, timeoutMs: 10_000 }
const settleDeadlineMs = 180_000
/** Until a fault of a round begins, at most. */
const staggerMs = 4000
const mostAtOnce = 3
/** The active is hit more often than the standby: so many times of ten. */
const activeShare = 7
const countEveryRounds = 25
/** Between two looks at who answers for an address. */
const inTurnMs = 500

const { values } = parseArgs({
  options: {
    hours: { type: 'string', default: '1' },
    seed: { type: 'string' },
    rounds: { type: 'string' },
    replicated: { type: 'boolean', default: false },
  },
})
const hours = Number(values.hours)
const seed = values.seed === undefined ? Date.now() % 2 ** 31 : Number(values.seed)
const mostRounds = values.rounds === undefined ? Number.POSITIVE_INFINITY : Number(values.rounds)
if (!(hours > 0)) fail('--hours must be a number above 0')
if (!Number.isInteger(seed)) fail('--seed must be a whole number')
const obstacle = labObstacle()
if (obstacle) fail(obstacle)

const random = createRandom(seed)
const startedAt = performance.now()
const counts = new Map<string, number>()
const total = { rounds: 0, takeovers: 0, longestWithoutMs: 0, slowestSettleMs: 0 }
const history: string[] = []
let stopping = false
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (stopping) process.exit(130)
    stopping = true
    say('stops after this round')
  })
}

say(`seed ${seed}, ${hours} h${values.replicated ? ', servers with a database each' : ''}`)
const lab = await openLab({
  ...timings,
  replicated: values.replicated,
  clocks: clocksCanBeSet,
  sharedFolder: true,
  virtualAddresses: true,
  ownCollectors: true,
  streams: [...throughCollector, ...throughVirtual, ...toBoth],
})
let failure: Error | undefined
try {
  const endAt = startedAt + hours * 3_600_000
  while (!stopping && performance.now() < endAt && total.rounds < mostRounds) {
    await round(lab)
    if (total.rounds % countEveryRounds === 0) await lab.countRunning()
  }
} catch (error) {
  failure = error as Error
  say(`stops at a violation after ${total.rounds} rounds: ${failure.message}`)
}
try {
  const counted = await lab.count()
  for (const { server, stream, sent, lost, doubled, incidents } of counted) {
    say(`${server}, ${stream}: ${sent} sent, ${lost} lost, ${doubled} doubled`)
    for (const incident of incidents) say(`  doubled: ${JSON.stringify(incident)}`)
    if (doubled > 0) failure ??= new Error(`${stream}: ${doubled} doubled at ${server}`)
    if (lost > 0 && /collector/.test(stream)) {
      failure ??= new Error(`${stream}: ${lost} lost at ${server}`)
    }
  }
} catch (error) {
  failure ??= error as Error
}
if (failure) {
  const evidence = join('/tmp', `soak-evidence-${seed}-${process.pid}`)
  mkdirSync(evidence, { recursive: true })
  await lab.keepEvidence(evidence).catch(error => say(`evidence: ${error}`))
  writeFileSync(
    join(evidence, 'rounds.txt'),
    `seed ${seed}\n${history.join('\n')}\n${failure.stack}\n`,
  )
  say(`VIOLATION after ${total.rounds} rounds: ${failure.message}`)
  say(`seed ${seed}; all evidence is in ${evidence}`)
  process.exitCode = 1
}
summarize()
await lab.close()
process.exit()

async function round(lab: Lab): Promise<void> {
  const begunAt = performance.now()
  const term = (await lab.untilActive({ withinMs: settleDeadlineMs })).term
  const chosen = choose(lab)
  let overlapMs = 0
  const done = await Promise.all(
    chosen.map(async ({ fault, afterMs, forMs, server }) => {
      await sleep(afterMs)
      const broken: Broken = await fault.begin(lab, random, server)
      overlapMs = Math.max(overlapMs, broken.overlapMs ?? 0)
      counts.set(fault.name, (counts.get(fault.name) ?? 0) + 1)
      await sleep(forMs)
      await broken.heal()
      return `${broken.what} (${(forMs / 1000).toFixed(1)} s)`
    }),
  )
  const what = done.join(' + ')
  history.push(`${clock()} (until ${new Date().toISOString()}) ${what}`)
  const healedAt = performance.now()
  await lab.healAll()
  await lab.settled(settleDeadlineMs).catch(error => {
    throw new Error(`no pair again after ${what}: ${error.message}`)
  })
  const settleMs = performance.now() - healedAt
  const { server, term: now } = await lab.untilActive()
  // Who cannot hear either that the other one was told so goes on until its lease ends.
  if (overlapMs > 0 && chosen.length > 1) overlapMs = timings.leaseMs + inTurnMs
  const violations = await lab.violations({ overlapMs }).catch(error => [String(error)])
  const real =
    overlapMs > 0 ? violations.filter(text => !/were active at once/.test(text)) : violations
  if (overlapMs > 0) {
    lab.roles.forget()
    lab.addresses.forget()
  }
  if (now < term) real.push(`the term fell from ${term} to ${now}`)
  if (real.length > 0) throw new Error(`${real.join('; ')} (in the round: ${what})`)

  const without = lab.roles.longestWithout(begunAt)
  total.rounds++
  total.takeovers += now - term
  total.longestWithoutMs = Math.max(total.longestWithoutMs, without)
  total.slowestSettleMs = Math.max(total.slowestSettleMs, settleMs)
  say(
    `#${total.rounds} ${what}: ${server.name} active in term ${now}, ${now - term} takeovers, ` +
      `${(without / 1000).toFixed(1)} s without an active, a pair again after ${(settleMs / 1000).toFixed(1)} s`,
  )
}

interface Chosen {
  fault: Fault
  afterMs: number
  forMs: number
  server: Lab['kw1']
}

/** Up to three faults, no two of which hit the same. */
function choose(lab: Lab): Chosen[] {
  const possible = faults.filter(fault => fault.possible?.(lab) ?? true)
  const many = 1 + random(mostAtOnce)
  const hit = new Set<string>()
  const chosen: Chosen[] = []
  const active = lab.servers.find(({ name }) => lab.roles.last(name)?.role === 'active') ?? lab.kw1
  for (let attempt = 0; chosen.length < many && attempt < 20; attempt++) {
    const fault = weighted(possible)
    const server = random(10) < activeShare ? active : lab.other(active)
    const hits =
      fault.hits === 'servers'
        ? ['kw1', 'kw2']
        : [fault.hits === 'server' ? server.name : fault.hits]
    if (hits.some(one => hit.has(one))) continue
    for (const one of hits) hit.add(one)
    chosen.push({
      fault,
      server,
      afterMs: chosen.length === 0 ? 0 : random(staggerMs),
      forMs: fault.leastMs + random(fault.mostMs - fault.leastMs + 1),
    })
  }
  return chosen
}

function weighted(from: readonly Fault[]): Fault {
  let left = random(from.reduce((total, { weight }) => total + weight, 0))
  for (const fault of from) {
    left -= fault.weight
    if (left < 0) return fault
  }
  return from.at(-1)!
}

function summarize() {
  const lines = [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([name, times]) => `  ${name}: ${times}`)
  say(`${total.rounds} rounds, ${total.takeovers} takeovers; faults:\n${lines.join('\n')}`)
  say(
    `longest without an active: ${(total.longestWithoutMs / 1000).toFixed(1)} s; ` +
      `longest until there was a pair again: ${(total.slowestSettleMs / 1000).toFixed(1)} s; ` +
      `changes acknowledged: ${[...lab.writer.acknowledged].map(([name, many]) => `${name} ${many}`).join(', ')}`,
  )
}

function clock(): string {
  return new Date(performance.now() - startedAt).toISOString().slice(11, 19)
}

function say(text: string) {
  process.stdout.write(`${clock()} ${text}\n`)
}

function fail(reason: string): never {
  process.stderr.write(`soak: ${reason}\n`)
  process.exit(1)
}
