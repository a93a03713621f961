/**
 * `npm run bench:sustained`: a collector that takes --flows flows a second of --exporters exporters
 * for --minutes minutes, from the socket to segments on disk (fsync), and how many it lost.
 *
 * What runs: `keepwatch collector` as a process with its settings file, as it is shipped, whose server
 * is not reached; and one sender. Lost is: a drop in /proc/net/udp, a gap in the sequence numbers, or a
 * flow that is not on disk after the stop. The flows of ten minutes at a million a second take 13 GB.
 *
 * Options: --minutes N (10), --flows N (1000000), --exporters N (100), --format v9, --json (one line,
 * the last).
 */
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type Format, recordsPerDatagram } from './datagrams.ts'
import { cpuSecondsOf, udpSocketAt } from './proc.ts'
import { startReceiver } from './receivers.ts'
import type { SenderReport } from './sender-process.ts'
import { messageFrom, openWorkshop } from './workshop.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    flows: { type: 'string', default: '1000000' },
    exporters: { type: 'string', default: '100' },
    format: { type: 'string', default: 'v9' },
    json: { type: 'boolean', default: false },
  },
})
const format = values.format as Format
const records = recordsPerDatagram[format]
const seconds = 60 * Number(values.minutes)
const startDeadlineMs = 20_000
/** The last batch is sealed and written. */
const settleMs = 3000

const workshop = openWorkshop()
const receiver = await startReceiver('keepwatch', workshop, join(workshop.dir, 'sustained'))
const sender = workshop.start(
  process.execPath,
  [
    join(import.meta.dirname, 'sender-process.ts'),
    ...[format, String(receiver.port), values.exporters],
  ],
  { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] },
)
workshop.preferMost(sender)
await messageFrom(sender, startDeadlineMs)
const cpuBefore = cpuSecondsOf(receiver.pid)
const answer = messageFrom<SenderReport>(sender, 1000 * seconds + startDeadlineMs)
sender.send({ datagramsPerSecond: Number(values.flows) / records, seconds })
const sent = await answer
await sleep(settleMs)
const cpu = cpuSecondsOf(receiver.pid) - cpuBefore
const drops = udpSocketAt(receiver.port)!.drops
sender.disconnect()
const stored = await receiver.stop()
const flows = sent.datagrams * records
const result = {
  ...{ exporters: Number(values.exporters), seconds: sent.seconds, flows },
  flowsPerSecond: flows / sent.seconds,
  ...{ stored: stored.flows, lost: flows - stored.flows, drops, gaps: stored.sequenceGaps },
  ...{ cpuPerMillion: (1e6 * cpu) / flows, cores: cpu / sent.seconds },
  senderCores: sent.cpuSeconds / sent.seconds,
  bytesPerFlow: stored.bytes / stored.flows,
  problems: stored.problems,
}
process.stdout.write(
  `${[
    `${result.exporters} exporters, ${(result.flowsPerSecond / 1e6).toFixed(3)} M flows/s of ${format} for ${sent.seconds.toFixed(0)} s`,
    `sent ${flows}, on disk ${stored.flows}, lost ${result.lost}`,
    `dropped by the kernel ${drops} datagrams, gaps in sequences ${stored.sequenceGaps}`,
    `CPU s/million ${result.cpuPerMillion.toFixed(2)}; ${result.cores.toFixed(2)} of ${availableParallelism()} cores, the sender ${result.senderCores.toFixed(2)}`,
    `bytes a flow ${result.bytesPerFlow.toFixed(1)}`,
    ...stored.problems,
  ].join('\n')}\n`,
)
if (values.json) process.stdout.write(`${JSON.stringify(result)}\n`)
process.exit(result.lost === 0 && drops === 0 ? 0 : 1)
