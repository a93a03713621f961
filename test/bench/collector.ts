/**
 * `npm run bench`: the Keepwatch collector beside Debian's nfcapd, on the same input, in one run.
 *
 * What runs: `keepwatch collector` as a process with its settings file, as it is shipped; and
 * `nfcapd -z` (LZO) and `nfcapd -y` (LZ4), with as large a receive buffer as Keepwatch is granted
 * (net.core.rmem_max). One after the other, never two at once; each round in another order. All
 * write to the same temporary folder (TMPDIR chooses another disk).
 *
 * What they are asked for: nfcapd writes to disk and nothing else, so Keepwatch is given a server
 * that is not reached: it decodes, seals and keeps everything in its spool, and delivers nothing.
 * Keepwatch makes every segment durable (fsync); nfcapd leaves that to the kernel.
 *
 * Input: eight exporters (127.20.0.1 to 8), NetFlow v5 with 30 records a datagram, v9 with 25,
 * IPFIX with 20; more than 100,000 addresses, 1,000 service ports (datagrams.ts). The sender is one
 * Node process, which on loopback also pays for the kernel's receive path; a figure that it limits
 * is written with ≥. As root, receivers go before other programs of the machine, and the sender
 * before the receivers, so that a full machine shows as loss and not as a lower offer.
 *
 * Measured, per round, format and receiver:
 *  - the highest loss-free rate: searched with short runs (half of --seconds) until rates that hold
 *    and that do not are within 8 %; then proven by a fresh process that takes it for --seconds, in
 *    steps downwards until a run loses nothing. Lost is: a drop in /proc/net/udp, a gap in the
 *    receiver's own sequence numbers, a flow that is not on disk after the stop, or a queue that is
 *    not worked off a second after the last datagram. All four must say nothing.
 *  - CPU seconds per million flows, after 4 s of warm-up, of the receiver's process, threads and children
 *    (/proc/<pid>/stat), at a rate that all of them hold, and at its own highest.
 *  - bytes per flow on disk, of everything that the proving process stored.
 *
 * A ratio is ours divided by the better of the two nfcapd in the same round: above 1 is better for
 * flows a second, below 1 is better for CPU and bytes. Each figure is the median of the rounds, with the
 * lowest and the highest behind it.
 *
 * Options: --rounds N (3), --seconds N (3), --formats v5,v9,ipfix, --json (one line, the last).
 * It takes about a quarter of an hour.
 */
import { parseArgs } from 'node:util'
import { type Format, formats, recordsPerDatagram } from './datagrams.ts'
import { labels, type ReceiverName, receivers } from './receivers.ts'
import { findHighest } from './search.ts'
import { openSession } from './session.ts'
import { openWorkshop, type Workshop } from './workshop.ts'

interface Options {
  rounds: number
  seconds: number
  formats: Format[]
  json: boolean
}

/** What one round says of one receiver. */
interface Figures {
  flowsPerSecond: number
  /** The sender was the limit. */
  atLeast: boolean
  cpuPerMillion: number
  cpuPerMillionAtHighest: number
  bytesPerFlow: number
  others: number[]
}

const commonRate = 500_000
/** Both run for days: what a program needs to come up to speed in its first seconds is not measured. */
const warmUp = { rate: 500_000, seconds: 4 }
const search = { start: 400_000, factor: 2, nearFactor: 1.12, precision: 1.08, floor: 20_000 }
/** From a rate that did not hold in a fresh process to the next that is tried. */
const stepDown = 0.93

const options = readOptions()
const workshop = openWorkshop()
const rounds = await measure(options, workshop).catch(error => {
  say(`bench: ${(error as Error).message}`)
  process.exit(1)
})
process.stdout.write(`${report(options, rounds)}\n`)
if (options.json) process.stdout.write(`${JSON.stringify(summary(rounds))}\n`)
process.exit(0)

function readOptions(): Options {
  try {
    const { values } = parseArgs({
      options: {
        rounds: { type: 'string', default: '3' },
        seconds: { type: 'string', default: '3' },
        formats: { type: 'string', default: formats.join(',') },
        json: { type: 'boolean', default: false },
      },
    })
    const wanted = values.formats.split(',')
    for (const format of wanted) {
      if (!(formats as readonly string[]).includes(format)) {
        throw new Error(`--formats: ${format} is not one of ${formats.join(', ')}`)
      }
    }
    const number = (name: 'rounds' | 'seconds', least: number) => {
      const value = Number(values[name])
      if (!(value >= least)) throw new Error(`--${name} must be a number from ${least}`)
      return value
    }
    return {
      rounds: Math.round(number('rounds', 1)),
      seconds: number('seconds', 1),
      formats: wanted as Format[],
      json: values.json,
    }
  } catch (error) {
    process.stderr.write(`bench: ${(error as Error).message}\n`)
    process.exit(2)
  }
}

type Rounds = Map<Format, Map<ReceiverName, Figures[]>>

async function measure({ rounds, seconds, formats }: Options, workshop: Workshop): Promise<Rounds> {
  const all: Rounds = new Map(
    formats.map(format => [format, new Map(receivers.map(name => [name, []]))]),
  )
  for (let round = 0; round < rounds; round++) {
    for (const format of formats) {
      for (let turn = 0; turn < receivers.length; turn++) {
        const name = receivers[(round + turn) % receivers.length]!
        const before = all.get(format)!.get(name)!
        const hint = median(before.map(figures => figures.flowsPerSecond))
        say(`round ${round + 1} of ${rounds}, ${format}, ${labels[name]}`)
        const figures = await measureOne(workshop, name, format, seconds, hint)
        say(
          `  ${figures.atLeast ? '≥ ' : ''}${rate(figures.flowsPerSecond)} flows/s without loss, ${figures.cpuPerMillion.toFixed(2)} CPU s per million, ${figures.bytesPerFlow.toFixed(1)} bytes a flow`,
        )
        before.push(figures)
      }
    }
  }
  return all
}

/** @param hint the rate of earlier rounds, 0 in the first */
async function measureOne(
  workshop: Workshop,
  name: ReceiverName,
  format: Format,
  seconds: number,
  hint: number,
): Promise<Figures> {
  const others: number[] = []
  const searching = await openSession(workshop, name, format)
  await searching.run(warmUp.rate, warmUp.seconds)
  const common = await searching.runWhole(commonRate, seconds)
  others.push(common.others)
  if (common.drops > 0) say(`  ${common.drops} datagrams lost at the common rate`)
  const highest = await findHighest(
    async wanted => {
      const attempt = async () => {
        const run = await searching.run(wanted, Math.max(1, seconds / 2))
        others.push(run.others)
        const held = run.drops === 0 && !run.behind
        say(`  ${rate(run.offered)} ${held ? 'held' : describeLoss(run)}`)
        return { held, offered: run.offered, senderLimited: run.senderLimited }
      }
      const first = await attempt()
      // It may have been somebody else who kept the sender from sending.
      return first.held && first.senderLimited ? attempt() : first
    },
    hint > 0 ? { ...search, start: hint, factor: search.nearFactor } : search,
  )
  await searching.close()

  for (let wanted = highest.rate; wanted > search.floor; wanted *= stepDown) {
    const proving = await openSession(workshop, name, format)
    await proving.run(warmUp.rate, warmUp.seconds)
    const run = await proving.runWhole(wanted, seconds)
    others.push(run.others)
    const { stored, lost } = await proving.close()
    if (lost.length === 0 && !run.behind) {
      return {
        flowsPerSecond: run.offered,
        atLeast: highest.atLeast && wanted === highest.rate,
        cpuPerMillion: common.cpuPerMillion,
        cpuPerMillionAtHighest: run.cpuPerMillion,
        bytesPerFlow: stored.bytes / stored.flows,
        others,
      }
    }
    say(`  ${rate(run.offered)} not proven: ${lost.join('; ') || describeLoss(run)}`)
  }
  throw new Error(`${labels[name]} holds no rate at all`)
}

function describeLoss({ drops, behind }: { drops: number; behind: boolean }): string {
  return drops > 0 ? `lost ${drops} datagrams` : behind ? 'fell behind' : 'lost nothing'
}

/** A figure over the rounds. */
interface Spread {
  median: number
  lowest: number
  highest: number
}

type Measure = 'flowsPerSecond' | 'cpuPerMillion' | 'cpuPerMillionAtHighest' | 'bytesPerFlow'

function spreadOf(values: readonly number[]): Spread {
  return { median: median(values), lowest: Math.min(...values), highest: Math.max(...values) }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1
    ? sorted[middle]!
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

function spread(rounds: ReadonlyMap<ReceiverName, Figures[]>, name: ReceiverName, of: Measure) {
  return spreadOf(rounds.get(name)!.map(figures => figures[of]))
}

/** Ours by the better peer's, round by round. */
function ratio(rounds: ReadonlyMap<ReceiverName, Figures[]>, of: Measure): Spread {
  const ours = rounds.get('keepwatch')!
  const peers = receivers.filter(name => name !== 'keepwatch')
  const best = of === 'flowsPerSecond' ? Math.max : Math.min
  return spreadOf(
    ours.map((figures, round) => {
      const theirs = peers.map(name => rounds.get(name)![round]![of])
      return figures[of] / best(...theirs)
    }),
  )
}

function report({ rounds, seconds }: Options, all: Rounds): string {
  const lines: string[] = []
  for (const [format, figures] of all) {
    lines.push(
      '',
      `${format}, ${recordsPerDatagram[format]} records a datagram: median of ${rounds} (lowest–highest)`,
      row(
        '',
        'loss-free flows/s',
        `CPU s/million at ${rate(commonRate)}`,
        'CPU s/million at highest',
        'bytes a flow',
      ),
    )
    for (const name of receivers) {
      const atLeast = figures.get(name)!.some(round => round.atLeast)
      lines.push(
        row(
          labels[name],
          `${atLeast ? '≥ ' : ''}${show(spread(figures, name, 'flowsPerSecond'), rate)}`,
          show(spread(figures, name, 'cpuPerMillion')),
          show(spread(figures, name, 'cpuPerMillionAtHighest')),
          show(spread(figures, name, 'bytesPerFlow'), value => value.toFixed(1)),
        ),
      )
    }
    lines.push(
      row(
        'ratio to the better nfcapd',
        show(ratio(figures, 'flowsPerSecond')),
        show(ratio(figures, 'cpuPerMillion')),
        show(ratio(figures, 'cpuPerMillionAtHighest')),
        show(ratio(figures, 'bytesPerFlow')),
      ),
    )
  }
  const { median: usual, highest } = othersUse(all)
  lines.push(
    '',
    `Runs of ${seconds} s. ${workshop.preferred ? '' : 'Not run as root, so without priority. '}Other programs used ${percent(usual)} of the machine (at most ${percent(highest)})${usual > 0.1 ? ': it was not idle, trust the ratios more than the figures' : ''}.`,
  )
  return lines.join('\n')
}

function othersUse(all: Rounds): Spread {
  return spreadOf(
    [...all.values()].flatMap(figures => [...figures.values()].flat()).flatMap(one => one.others),
  )
}

function summary(all: Rounds): Record<string, unknown> {
  const result: Record<string, unknown> = {}
  const bytesPerFlow: Record<string, unknown> = {}
  for (const [format, figures] of all) {
    const [lzo, lz4] = (['nfcapd_lzo', 'nfcapd_lz4'] as const).map(name => ({
      flows_s: Math.round(spread(figures, name, 'flowsPerSecond').median),
      cpu_s_per_million: round(spread(figures, name, 'cpuPerMillion').median),
      cpu_s_per_million_at_highest: round(spread(figures, name, 'cpuPerMillionAtHighest').median),
    }))
    const flows = spread(figures, 'keepwatch', 'flowsPerSecond')
    const flowsRatio = ratio(figures, 'flowsPerSecond')
    result[format] = {
      ratio: round(flowsRatio.median),
      ratio_lowest: round(flowsRatio.lowest),
      ratio_highest: round(flowsRatio.highest),
      cpu_ratio: round(ratio(figures, 'cpuPerMillion').median),
      cpu_ratio_at_highest: round(ratio(figures, 'cpuPerMillionAtHighest').median),
      keepwatch_flows_s: Math.round(flows.median),
      keepwatch_flows_s_lowest: Math.round(flows.lowest),
      keepwatch_flows_s_highest: Math.round(flows.highest),
      keepwatch_cpu_s_per_million: round(spread(figures, 'keepwatch', 'cpuPerMillion').median),
      keepwatch_cpu_s_per_million_at_highest: round(
        spread(figures, 'keepwatch', 'cpuPerMillionAtHighest').median,
      ),
      nfcapd_flows_s: Math.max(lzo!.flows_s, lz4!.flows_s),
      nfcapd_cpu_s_per_million: Math.min(lzo!.cpu_s_per_million, lz4!.cpu_s_per_million),
      nfcapd_lzo: lzo,
      nfcapd_lz4: lz4,
      /** Receivers that may hold more than the sender could send. */
      limited_by_sender: receivers.filter(name => figures.get(name)!.some(one => one.atLeast)),
    }
    bytesPerFlow[format] = {
      ratio: round(ratio(figures, 'bytesPerFlow').median),
      ...Object.fromEntries(
        receivers.map(name => [name, round(spread(figures, name, 'bytesPerFlow').median)]),
      ),
    }
  }
  return { ...result, bytes_per_flow: bytesPerFlow, others_cpu: round(othersUse(all).median) }
}

function row(...cells: string[]): string {
  return cells
    .map((cell, index) => cell.padEnd(index === 0 ? 28 : 27))
    .join('')
    .trimEnd()
}

function show(of: Spread, format = (value: number) => value.toFixed(2)): string {
  return `${format(of.median)} (${format(of.lowest)}–${format(of.highest)})`
}

function rate(flowsPerSecond: number): string {
  return `${(flowsPerSecond / 1e6).toFixed(2)} M`
}

function percent(part: number): string {
  return `${Math.round(100 * part)} %`
}

function round(value: number): number {
  return Math.round(1000 * value) / 1000
}

function say(line: string) {
  process.stderr.write(`${line}\n`)
}
