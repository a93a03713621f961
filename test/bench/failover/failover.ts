/**
 * `npm run bench:failover [-- options]`: how long a takeover takes and what it loses, for this pair
 * and for others of its kind in the same network of namespaces.
 *
 *   --runs <n>    runs of each measurement, 100 unless told otherwise
 *   --quick       5 runs of each: whether the bench works, not what it shows
 *   --only <a,b>  of crash, planned, host-lost, lease, replicated, stale, keepalived, zabbix;
 *                 `replicated`: crash and planned of a pair whose servers share no database
 *   --json        the last line is the result as JSON
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type LabOptions, openLab, throughCollector, throughVirtual } from '../../lab/lab.ts'
import { labObstacle } from '../../lab/network.ts'
import { type Figures, figuresOf, seconds, table } from './figures.ts'
import { type KeepalivedFigures, measureKeepalived } from './keepalived.ts'
import { measure, readStored, type Span, type Stored } from './pair.ts'
import { measureZabbix, type ZabbixFigures, zabbixInstalled } from './zabbix.ts'

const onDefaults = ['crash', 'planned', 'host-lost'] as const
const parts = [...onDefaults, 'lease', 'replicated', 'stale', 'keepalived', 'zabbix'] as const
const quickRuns = 5
/** A takeover of Zabbix takes half a minute: these say enough. */
const zabbixShare = 0.2
/** Some of a thousand end before their time: the process ended itself, and was not frozen. */
const leastTrials = 1020
const quickTrials = 20
/** Settings of a pair that shall notice a lost host within three seconds. */
const shortLease = { heartbeatMs: 300, leaseMs: 2000, timeoutMs: 4000 }
const virtualOptions: LabOptions = {
  virtualAddresses: true,
  ownCollectors: true,
  streams: [...throughCollector, ...throughVirtual],
}
/** One collector votes with both servers, and all telemetry comes through it. */
const replicatedOptions: LabOptions = { replicated: true, streams: throughCollector }
const staleProgram = join(import.meta.dirname, '../../failover/stale-commits.ts')
const virtualStream = throughVirtual[0]!.name

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '100' },
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: parts.join() },
    json: { type: 'boolean', default: false },
  },
})
const runs = values.quick ? quickRuns : Number(values.runs)
if (!Number.isInteger(runs) || runs < 1) fail('--runs must be a whole number above 0')
const only = values.only.split(',')
const strange = only.find(part => !parts.includes(part as (typeof parts)[number]))
if (strange !== undefined) fail(`--only takes ${parts.join()}, not ${strange}`)
const obstacle = labObstacle()
if (obstacle) fail(obstacle)

interface StaleCommits {
  freezes: number
  staleCommits: number
}

const asked = (part: (typeof parts)[number]) => only.includes(part)
const folder = join(tmpdir(), `keepwatch-bench-${process.pid}`)

say(`${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}, ${runs} runs of each`)
const spans: Span[] = []
const stores: Stored[] = []
let interrupted = false
let trialsOfStaleCommits: ChildProcess | undefined
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (interrupted) process.exit(130)
    interrupted = true
    trialsOfStaleCommits?.kill('SIGTERM')
    say(`${signal}: ends after the runs under way`)
  })
}
let keepalived: KeepalivedFigures | undefined
let zabbix: ZabbixFigures | undefined
if (onDefaults.some(asked)) {
  await onPair({}, virtualOptions, async lab => {
    const measured: Span[] = []
    if (asked('crash')) measured.push(await measure(lab, 'crash', 'crash', runs, progress))
    if (asked('planned')) {
      measured.push(await measure(lab, 'planned', 'planned switchover', runs, progress))
    }
    if (!asked('host-lost')) return measured
    const [hostLost] = await all([
      measure(lab, 'host lost', 'host lost, default settings', runs, progress),
      measurePeers(),
    ])
    return [...measured, hostLost]
  })
}
if (!asked('host-lost')) await measurePeers()
if (asked('lease')) {
  await onPair(shortLease, virtualOptions, async lab => [
    await measure(lab, 'host lost', 'host lost, lease of 2 s', runs, progress),
  ])
}
if (asked('replicated')) {
  await onPair({}, replicatedOptions, async lab => [
    await measure(lab, 'crash', 'replicated: crash', runs, progress),
    await measure(lab, 'planned', 'replicated: planned switchover', runs, progress),
  ])
}
const stale = asked('stale')
  ? await staleCommits(values.quick ? quickTrials : leastTrials)
  : undefined
rmSync(folder, { recursive: true, force: true })
report()

/** They compute next to nothing, so they are measured beside a pair that waits for its lease. */
async function measurePeers() {
  await all([
    asked('keepalived') &&
      measureKeepalived(join(folder, 'keepalived'), runs, progress).then(figures => {
        keepalived = figures
      }),
    asked('zabbix') &&
      zabbixInstalled &&
      measureZabbix(
        join(folder, 'zabbix'),
        Math.max(2, Math.round(runs * zabbixShare)),
        progress,
      ).then(figures => {
        zabbix = figures
      }),
  ])
}

/** Waits for all of them, then throws what the first of them threw. */
async function all<T extends readonly unknown[]>(
  work: readonly [...T],
): Promise<{ [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(work)
  return Promise.all(work)
}

async function onPair(
  settings: Partial<typeof shortLease>,
  options: LabOptions,
  work: (lab: Awaited<ReturnType<typeof openLab>>) => Promise<Span[]>,
) {
  const lab = await openLab({
    ...settings,
    realDisk: true,
    restartMs: 100,
    ...options,
  })
  try {
    const measured = await work(lab)
    const violations = await lab.violations({ overlapMs: 0 })
    for (const violation of violations) say(`VIOLATION: ${violation}`)
    stores.push(
      await readStored(lab, measured, options.virtualAddresses ? virtualStream : undefined),
    )
    spans.push(...measured)
    if (violations.length > 0) process.exitCode = 1
  } catch (error) {
    const evidence = join('/tmp', `bench-evidence-${process.pid}`)
    await lab.keepEvidence(evidence).catch(() => {})
    say(`the logs of all parts: ${evidence}`)
    throw error
  } finally {
    await lab.close()
  }
}

/** Freezes an active with changes under way, wakes it when another has taken over, and looks for late commits. */
async function staleCommits(trials: number): Promise<StaleCommits | undefined> {
  if (!existsSync(staleProgram)) return undefined
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', staleProgram, '--trials', String(trials), '--json'],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  trialsOfStaleCommits = child
  let said = ''
  child.stdout.on('data', data => {
    said += data
  })
  const code = await new Promise<number | null>(resolve => child.once('close', resolve))
  const last = said.trim().split('\n').at(-1) ?? ''
  say(`stale commits: ${last}`)
  if (code !== 0) process.exitCode = 1
  const result = JSON.parse(last) as Record<string, number>
  return { freezes: result.freezes ?? trials, staleCommits: result.stale_commits ?? Number.NaN }
}

function report() {
  const span = (what: string) => spans.find(one => one.what === what)
  const active = (what: string): Figures | undefined => {
    const found = span(what)
    return found && figuresOf(found.runs.map(run => run.active))
  }
  const firstStored = (what: string): Figures | undefined => {
    const found = stores.map(store => store.firstStored[what]).find(times => times?.length)
    return found && figuresOf(found)
  }
  const missing = stores.flatMap(store => store.missing)
  const sum = (what: string | undefined, way: RegExp, of: 'lost' | 'doubled' | 'sent') =>
    missing
      .filter(one => (what === undefined || one.what === what) && way.test(one.stream))
      .reduce((total, one) => total + one[of], 0)
  const collectors = /collector/
  const direct = /virtual/

  const crash = active('crash')
  const rows: string[][] = [
    ['', 'p50 s', 'p99 s', 'max s', 'n', 'goal (p99)', 'lost: collector', 'direct', 'a run'],
  ]
  const add = (title: string, figures: Figures | undefined, goal = '', what?: string) => {
    if (!figures) return
    const lost = what === undefined ? undefined : sum(what, direct, 'lost')
    rows.push([
      title,
      ...[figures.p50, figures.p99, figures.max].map(seconds),
      String(figures.n),
      goal,
      what === undefined ? '' : String(sum(what, collectors, 'lost')),
      lost === undefined ? '' : String(lost),
      lost === undefined ? '' : (lost / figures.n).toFixed(1),
    ])
  }
  add('crash → active', crash, '≤ 1.5', 'crash')
  add('crash → first datagram stored', firstStored('crash'))
  for (const [what, goal] of [
    ['host lost, default settings', '≤ 12'],
    ['host lost, lease of 2 s', '≤ 3'],
  ] as const) {
    add(`${what} → active`, active(what), goal, what)
    add(`${what} → first datagram stored`, firstStored(what))
  }
  add('planned switchover → active', active('planned switchover'), '≤ 0.5', 'planned switchover')
  add('replicated: crash → active', active('replicated: crash'), '≤ 3', 'replicated: crash')
  add(
    'replicated: planned switchover → active',
    active('replicated: planned switchover'),
    '≤ 1',
    'replicated: planned switchover',
  )
  add('keepalived: crash → first datagram received', keepalived?.crash_to_first_received_s)
  add('keepalived: host lost → first datagram received', keepalived?.host_lost_to_first_received_s)
  add(
    `Zabbix (failover delay ${zabbix?.failover_delay_s} s): crash → active`,
    zabbix?.crash_to_active_s,
  )
  add('Zabbix: planned → active', zabbix?.planned_s)
  process.stdout.write(`\n${table(rows)}\n\n`)

  for (const [name, theirs, ours] of [
    ['keepalived, crash', keepalived?.crash_to_first_received_s, firstStored('crash') ?? crash],
    ['Zabbix, crash', zabbix?.crash_to_active_s, crash],
    ['Zabbix, planned', zabbix?.planned_s, active('planned switchover')],
  ] as const) {
    if (!theirs || !ours) continue
    process.stdout.write(
      `${name}: takes ${(theirs.p50 / ours.p50).toFixed(1)} times as long (p50), ${(theirs.p99 / ours.p99).toFixed(1)} times (p99)\n`,
    )
  }
  if (keepalived)
    process.stdout.write(
      `keepalived loses ${keepalived.lost_per_crash} datagrams a crash at 200 a second\n`,
    )
  if (asked('zabbix') && !zabbixInstalled)
    process.stdout.write('Zabbix is not installed: not measured\n')
  if (asked('stale') && !stale) process.stdout.write('stale commits: not measured\n')
  const sent = sum(undefined, collectors, 'sent')
  if (sent > 0) {
    process.stdout.write(
      `through the collector: ${sent} sent, ${sum(undefined, collectors, 'lost')} lost, ${sum(undefined, collectors, 'doubled')} doubled; ` +
        `to the virtual addresses: ${sum(undefined, direct, 'sent')} sent, ${sum(undefined, direct, 'lost')} lost, ${sum(undefined, direct, 'doubled')} doubled\n`,
    )
  }
  if (!values.json) return
  const lostDirect = Object.fromEntries(spans.map(({ what }) => [what, sum(what, direct, 'lost')]))
  process.stdout.write(
    `${JSON.stringify({
      crash_to_active_s: crash,
      crash_to_first_stored_s: firstStored('crash'),
      host_lost_s: active('host lost, default settings'),
      host_lost_short_lease_s: active('host lost, lease of 2 s'),
      planned_s: active('planned switchover'),
      replicated_crash_s: active('replicated: crash'),
      replicated_planned_s: active('replicated: planned switchover'),
      lost_through_collectors: sum(undefined, collectors, 'lost'),
      lost_direct: lostDirect,
      doubled: sum(undefined, /./, 'doubled'),
      stale_commits: stale?.staleCommits,
      freezes: stale?.freezes,
      peers: { keepalived, zabbix },
    } satisfies Result)}\n`,
  )
}

interface Result {
  crash_to_active_s: Figures | undefined
  crash_to_first_stored_s: Figures | undefined
  host_lost_s: Figures | undefined
  host_lost_short_lease_s: Figures | undefined
  planned_s: Figures | undefined
  replicated_crash_s: Figures | undefined
  replicated_planned_s: Figures | undefined
  lost_through_collectors: number
  lost_direct: Record<string, number>
  doubled: number
  stale_commits: number | undefined
  freezes: number | undefined
  peers: { keepalived: KeepalivedFigures | undefined; zabbix: ZabbixFigures | undefined }
}

/** @throws Error when the bench was told to end, so that everything is cleared away */
function progress(text: string) {
  say(text)
  if (interrupted) throw new Error('interrupted')
}

function say(text: string) {
  process.stderr.write(`${text}\n`)
}

function fail(reason: string): never {
  say(`bench:failover: ${reason}`)
  process.exit(1)
}
