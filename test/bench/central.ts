/**
 * `npm run bench:central`: how many flows a second a server with its engine stores, rollups included,
 * that collectors elsewhere deliver to it.
 *
 * What runs: an embedded PostgreSQL and one server with its engine, as they are shipped. Segments are
 * made before by the collector's own decoder from NetFlow v9 datagrams of 500 exporters with 40
 * interfaces each, full ones of 131,072 rows. As many collectors as --collectors deliver them, over
 * TLS, each under an identity and sequence of its own, with as many segments under way at once as a
 * collector has. All of the flows are of the same two minutes, as they are at that rate.
 *
 * Measured, per round, from the first segment until the last is acknowledged, and again until
 * everything is summed up and merged: flows a second, CPU seconds per million of server and engine,
 * memory, bytes a flow. The deliverer's own CPU is told: it takes its part of the machine.
 *
 * Options: --million N (40) flows, --collectors N (4), --rounds N (3), --json (one line, the last).
 */
import { createHash, randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { linkHeaders, linkPaths } from '../../src/collect/link.ts'
import { compressBody } from '../../src/collect/segment.ts'
import { parseAddress } from '../../src/telemetry/address.ts'
import { createBatch } from '../../src/telemetry/batch.ts'
import { flowTable } from '../../src/telemetry/flow.ts'
import { encodeNative } from '../../src/telemetry/native.ts'
import { createFlowDecoder } from '../../src/wire/flow-decoder.ts'
import { createFlows, netflow9, recordsPerDatagram } from './datagrams.ts'
import { bytesIn, cpuOf, type Site, startSite, watch } from './site.ts'
import { openWorkshop } from './workshop.ts'

interface Result {
  flows: number
  storedPerSecond: number
  settledSeconds: number
  cpuPerMillion: Record<string, number>
  cpuPerMillionSettled: Record<string, number>
  delivererCpu: number
  peakMegabytes: Record<string, number>
  bytesPerFlow: { raw: number; rollups: number }
}

interface Parcel {
  rows: number
  nativeBytes: number
  body: Uint8Array
  sha256: string
}

const rowsOfSegment = 131_072
const exporters = 500
const interfacesOfEach = 40
/** Different ones, delivered again and again. */
const segments = 12
const underWay = 4

const { values } = parseArgs({
  options: {
    million: { type: 'string', default: '40' },
    collectors: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
})
const wanted = Math.ceil((1e6 * Number(values.million)) / rowsOfSegment)
const workshop = openWorkshop()
const parcels = await makeParcels()
const results: Result[] = []
for (let round = 0; round < Number(values.rounds); round++) results.push(await measure(round))
process.stdout.write(`${report(results)}\n`)
if (values.json) process.stdout.write(`${JSON.stringify(results)}\n`)
process.exit(0)

/** What a collector seals of such traffic. */
async function makeParcels(): Promise<Parcel[]> {
  const made: Uint8Array[] = []
  const now = Date.now()
  const batch = createBatch(flowTable, rowsOfSegment, () => {
    made.push(encodeNative(batch).slice())
    batch.clear()
  })
  const decoder = createFlowDecoder({ batch, onProblem: () => {} })
  const next = createFlows()
  const addresses = Array.from(
    { length: exporters },
    (_, index) => parseAddress(`127.30.${index >> 8}.${index & 255}`)!,
  )
  const port = () => 1 + Math.floor(interfacesOfEach * Math.random())
  for (let sent = 0; made.length < segments; sent++) {
    const flows = Array.from({ length: recordsPerDatagram.v9 }, () => ({
      ...next(),
      ...{ input: port(), output: port() },
    }))
    const bytes = netflow9(flows, now, sent < exporters)
    decoder.decode(bytes, addresses[sent % exporters]!, 2055, now)
  }
  return Promise.all(
    made.map(async native => {
      const body = await compressBody(native)
      const sha256 = createHash('sha256').update(body).digest('hex')
      return { rows: rowsOfSegment, nativeBytes: native.length, body, sha256 }
    }),
  )
}

async function measure(round: number): Promise<Result> {
  const dir = join(workshop.dir, String(round))
  const site = await startSite(workshop, dir, { collector: false })
  await site.settled()
  const watching = setInterval(() => watch(site.parts), 500)
  const before = cpuOf(site.parts)
  const ownBefore = process.cpuUsage()
  const began = performance.now()
  await deliverAll(site)
  const seconds = (performance.now() - began) / 1000
  const after = cpuOf(site.parts)
  const own = process.cpuUsage(ownBefore)
  const flows = wanted * rowsOfSegment
  const perMillion = (cpu: Record<string, number>) =>
    Object.fromEntries(
      Object.keys(site.parts).map(name => [name, (1e6 * (cpu[name]! - before[name]!)) / flows]),
    )
  process.stderr.write(
    `  ${(flows / 1e6).toFixed(1)} M flows in ${seconds.toFixed(1)} s: ${(flows / 1e6 / seconds).toFixed(2)} M/s; CPU s/million ${JSON.stringify(perMillion(after))}\n`,
  )
  const stored = await site.stored(flows, 2)
  if (stored !== flows) throw new Error(`${flows} flows were acknowledged, and ${stored} are there`)
  await site.settled()
  const settled = cpuOf(site.parts)
  const settledSeconds = (performance.now() - began) / 1000
  clearInterval(watching)
  await site.stop()
  const bytesPerFlow = await bytesIn(dir, flows)
  rmSync(dir, { recursive: true, force: true })
  const result = {
    ...{ flows, storedPerSecond: flows / seconds, settledSeconds, bytesPerFlow },
    cpuPerMillion: perMillion(after),
    cpuPerMillionSettled: perMillion(settled),
    delivererCpu: (own.user + own.system) / flows,
    peakMegabytes: Object.fromEntries(
      Object.entries(site.parts).map(([name, part]) => [name, part.peakBytes / 2 ** 20]),
    ),
  }
  process.stderr.write(`${report([result])}\n`)
  return result
}

async function deliverAll(site: Site) {
  const { url, identity } = site.link
  const agent = new Agent({
    ...{ key: identity.key, cert: identity.cert, ca: identity.ca, minVersion: 'TLSv1.3' },
    ...{ keepAlive: true, checkServerIdentity: () => undefined },
  })
  let left = wanted
  const collectors = Array.from({ length: Number(values.collectors) }, () => ({
    ...{ id: randomUUID(), sequence: 0 },
  }))
  const lanes = collectors.flatMap(collector =>
    Array.from({ length: underWay }, async () => {
      while (left-- > 0) await deliver(collector.id, collector.sequence++)
    }),
  )
  await Promise.all(lanes)
  agent.destroy()

  async function deliver(collector: string, sequence: number) {
    const parcel = parcels[sequence % parcels.length]!
    for (;;) {
      const status = await put(linkPaths.segment(collector, 'flow', sequence), parcel)
      if (status === 200) return
      if (status !== 503) throw new Error(`a segment was answered with ${status}`)
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }

  function put(path: string, { rows, nativeBytes, sha256, body }: Parcel): Promise<number> {
    return new Promise((resolve, reject) => {
      const sent = request(
        new URL(path, url),
        {
          ...{ method: 'PUT', agent },
          headers: {
            'content-type': 'application/octet-stream',
            'content-encoding': 'zstd',
            'content-length': body.length,
            [linkHeaders.rows]: rows,
            [linkHeaders.nativeBytes]: nativeBytes,
            [linkHeaders.sha256]: sha256,
          },
        },
        response => {
          response.resume()
          response.on('end', () => resolve(response.statusCode!))
          response.on('error', reject)
        },
      )
      sent.on('error', reject)
      sent.end(body)
    })
  }
}

function report(all: readonly Result[]): string {
  const median = (pick: (result: Result) => number) => {
    const sorted = all.map(pick).toSorted((a, b) => a - b)
    return sorted[sorted.length >> 1]!
  }
  const spread = (pick: (result: Result) => number, digits: number) => {
    const values = all.map(pick)
    const range =
      all.length > 1
        ? ` (${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)})`
        : ''
    return `${median(pick).toFixed(digits)}${range}`
  }
  const lines: [string, string][] = [
    ['flows, millions', spread(({ flows }) => flows / 1e6, 1)],
    ['stored, M flows/s', spread(({ storedPerSecond }) => storedPerSecond / 1e6, 2)],
    ['summed up and merged after, s', spread(({ settledSeconds }) => settledSeconds, 0)],
    ...['server', 'engine'].flatMap((name): [string, string][] => [
      [`CPU s/million, ${name}`, spread(({ cpuPerMillion }) => cpuPerMillion[name]!, 2)],
      [`  until it is merged`, spread(one => one.cpuPerMillionSettled[name]!, 2)],
      [`memory at most, ${name}, MiB`, spread(({ peakMegabytes }) => peakMegabytes[name]!, 0)],
    ]),
    ['CPU s/million, deliverer', spread(({ delivererCpu }) => delivererCpu, 2)],
    ['bytes a flow, raw', spread(({ bytesPerFlow }) => bytesPerFlow.raw, 1)],
    ['bytes a flow, rollups', spread(({ bytesPerFlow }) => bytesPerFlow.rollups, 1)],
  ]
  return lines.map(([label, value]) => `${label.padEnd(36)}${value}`).join('\n')
}
