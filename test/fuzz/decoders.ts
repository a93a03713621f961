/**
 * What every decoder is fed with: real and built input, changed by chance. A target is a decoder
 * that lives through all of it, as in a collector, with the bounds that it promises.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { authenticationTrapV1, linkTrap } from '../../src/apps/simulation/notifications.ts'
import { parseAddress } from '../../src/telemetry/address.ts'
import { type Batch, createBatch } from '../../src/telemetry/batch.ts'
import { counterTable } from '../../src/telemetry/counter.ts'
import { flowTable } from '../../src/telemetry/flow.ts'
import { nameTable } from '../../src/telemetry/name.ts'
import { encodeNative } from '../../src/telemetry/native.ts'
import { syslogTable } from '../../src/telemetry/syslog.ts'
import { trapTable } from '../../src/telemetry/trap.ts'
import { createFlowDecoder, type FlowDecoder } from '../../src/wire/flow-decoder.ts'
import { createIpfixFramer } from '../../src/wire/ipfix-stream.ts'
import { createTrapDecoder } from '../../src/wire/snmp.ts'
import { createSyslogDecoder } from '../../src/wire/syslog.ts'
import { createSyslogFramer } from '../../src/wire/syslog-stream.ts'
import { capturesExist, flowFolder, readCaptures } from '../captures/flow-captures.ts'
import { readPcap } from '../captures/sflow-captures.ts'
import {
  ipfix,
  netflow5,
  netflow9,
  optionsTemplate10,
  plainFields,
  plainRecord,
  set,
  template9,
  template10,
} from '../fixtures/flow-messages.ts'
import { mutate, type Random } from '../fixtures/mutate.ts'

export interface Target {
  name: string
  /** What is changed. */
  corpus: readonly Uint8Array[]
  decoder(): Decoder
}

export interface Decoder {
  /** @throws never, whatever it is given */
  feed(input: Uint8Array, random: Random): void
  /** Rows that came of it. */
  readonly rows: number
  /** What it counted, by reason. */
  readonly problems: ReadonlyMap<string, number>
  /** In words, what it remembers beyond its bounds. */
  excess(): string[]
}

const root = join(import.meta.dirname, '../..')
const received = Date.UTC(2026, 4, 1, 12)
const senders = Array.from({ length: 40 }, (_, index) => parseAddress(`203.0.113.${index}`)!)
const bounds = {
  exporters: 16,
  domainsPerExporter: 8,
  templatesPerExporter: 64,
  fieldsPerTemplate: 128,
  fieldsInTotal: 4096,
  domainsInTotal: 64,
  samplersPerDomain: 16,
  samplersInTotal: 200,
  namesPerExporter: 64,
  namesInTotal: 500,
  heldSetsPerExporter: 16,
  heldBytesPerExporter: 16_384,
  heldBytesInTotal: 131_072,
}

export function targets(): Target[] {
  const flows = capturesExist ? readCaptures().map(({ bytes }) => bytes) : []
  const ofVersion = (...versions: number[]) =>
    flows.filter(bytes => versions.includes((bytes[0]! << 8) | bytes[1]!))
  const flow = (name: string, corpus: readonly Uint8Array[]) => ({
    ...{ name, corpus, decoder: () => flowTarget() },
  })
  return [
    flow('NetFlow 5 and 7', [netflow5([{}, {}]), netflow5([{}]), ...ofVersion(5, 7)]),
    flow('NetFlow 9', [
      netflow9([template9(256, plainFields)]),
      netflow9([template9(256, plainFields), set(256, plainRecord())]),
      netflow9([set(256, plainRecord())]),
      ...ofVersion(9),
    ]),
    flow('IPFIX', [
      ipfix([template10(256, plainFields)]),
      ipfix([template10(256, plainFields), set(256, plainRecord(), plainRecord())]),
      ipfix([
        optionsTemplate10(257, 1, [
          [302, 4],
          [305, 4],
          [306, 4],
        ]),
      ]),
      ...ofVersion(10),
    ]),
    flow('sFlow 5', sflowCorpus()),
    { name: 'syslog', corpus: syslogCorpus(), decoder: syslogTarget },
    { name: 'syslog over TCP', corpus: syslogCorpus(), decoder: syslogStreamTarget },
    {
      name: 'SNMP notifications',
      corpus: [linkTrap(true, 7, 'ge-0/0/7', 123), authenticationTrapV1('192.0.2.1', 5)],
      decoder: trapTarget,
    },
    { name: 'IPFIX over TCP', corpus: ofVersion(10), decoder: ipfixStreamTarget },
  ].filter(({ corpus }) => corpus.length > 0)
}

function flowTarget(): Decoder {
  const problems = new Map<string, number>()
  const full = filled(createBatchOf(flowTable))
  const decoder: FlowDecoder = createFlowDecoder(
    {
      batch: full.batch,
      counters: filled(createBatchOf(counterTable)).batch,
      names: filled(createBatchOf(nameTable)).batch,
      onProblem: problem => count(problems, problem),
    },
    bounds,
  )
  return {
    problems,
    get rows() {
      return full.rows
    },
    feed(input, random) {
      const exporter = senders[random(senders.length)]!
      decoder.decode(input, exporter, 2000 + random(3), received + random(100_000))
    },
    excess() {
      const { fields, heldBytes } = decoder.templates
      const health = [...decoder.exporters()].length
      return [
        fields > bounds.fieldsInTotal ? `${fields} fields` : '',
        heldBytes > bounds.heldBytesInTotal ? `${heldBytes} bytes held` : '',
        health > bounds.domainsInTotal ? `${health} domains` : '',
      ].filter(Boolean)
    },
  }
}

function syslogTarget(): Decoder {
  const problems = new Map<string, number>()
  const full = filled(createBatchOf(syslogTable))
  const { batch } = full
  const decoder = createSyslogDecoder({ batch, onProblem: problem => count(problems, problem) })
  return {
    problems,
    get rows() {
      return full.rows
    },
    feed: (input, random) => decoder.decode(input, senders[random(40)]!, 'udp', received),
    excess: () => [],
  }
}

function syslogStreamTarget(): Decoder {
  const problems = new Map<string, number>()
  const maxBytes = 4096
  let rows = 0
  let tooLong = 0
  const framer = createSyslogFramer(
    {
      onMessage(message) {
        rows++
        if (message.length > maxBytes) tooLong++
      },
      onProblem: problem => count(problems, problem),
    },
    { maxBytes },
  )
  return {
    problems,
    get rows() {
      return rows
    },
    feed(input, random) {
      if (random(2) === 0) framer.push(Buffer.from(`${input.length + random(3) - 1} `))
      framer.push(input)
      if (random(2) === 0) framer.push(Uint8Array.of(10))
    },
    excess: () => (tooLong > 0 ? [`${tooLong} messages longer than ${maxBytes}`] : []),
  }
}

function trapTarget(): Decoder {
  const problems = new Map<string, number>()
  const full = filled(createBatchOf(trapTable))
  const { batch } = full
  const decoder = createTrapDecoder({ batch, onProblem: problem => count(problems, problem) })
  return {
    problems,
    get rows() {
      return full.rows
    },
    feed: (input, random) => void decoder.decode(input, senders[random(40)]!, received),
    excess: () => [],
  }
}

/** A connection that is closed as soon as it is no IPFIX any more, and opened again. */
function ipfixStreamTarget(): Decoder {
  const flows = flowTarget()
  const problems = new Map<string, number>()
  let given: Random
  const open = () => createIpfixFramer(message => flows.feed(message, given))
  let framer = open()
  return {
    problems,
    get rows() {
      return flows.rows
    },
    feed(input, random) {
      given = random
      const cut = random(input.length + 1)
      const understood = framer.push(input.subarray(0, cut)) && framer.push(input.subarray(cut))
      if (understood) return
      count(problems, 'not IPFIX')
      framer = open()
    },
    excess: () => flows.excess(),
  }
}

function createBatchOf<T extends Parameters<typeof createBatch>[0]>(table: T) {
  return (onFull: (batch: { clear(): void }) => void) => createBatch(table, 4096, onFull, 1 << 24)
}

/** A batch that is encoded and emptied when it is full, as in a collector. */
function filled<B extends Batch>(make: (onFull: () => void) => B) {
  let emptied = 0
  const batch: B = make(() => {
    emptied += batch.rows
    encodeNative(batch)
    batch.clear()
  })
  return {
    batch,
    get rows() {
      return emptied + batch.rows
    },
  }
}

function count(problems: Map<string, number>, reason: string) {
  problems.set(reason, (problems.get(reason) ?? 0) + 1)
}

function sflowCorpus(): Uint8Array[] {
  const folder = join(flowFolder, 'tcpdump')
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter(name => /sflow.*\.pcap$/.test(name))
    .flatMap(name => readPcap(join(folder, name)).map(({ payload }) => payload))
}

function syslogCorpus(): Uint8Array[] {
  return ['syslog-vendors.tsv', 'syslog-cisco.tsv']
    .flatMap(name => readFileSync(join(root, 'src/wire/fixtures', name), 'utf8').split('\n'))
    .filter(line => line.includes('\t'))
    .map(line => Buffer.from(line.slice(0, line.indexOf('\t'))))
}

export interface Fed {
  inputs: number
  rows: number
  problems: number
  seconds: number
  slowestMs: number
  /** Of the heap after a collection of garbage, from a tenth of the inputs to the end; null: not measured. */
  grownBytes: number | null
}

const hangMs = 2000

/** @throws with the input, as hex, that made the decoder throw, hang or keep too much */
export function feedTarget(target: Target, inputs: number, random: Random): Fed {
  const decoder = target.decoder()
  const collect = globalThis.gc
  const began = performance.now()
  let slowestMs = 0
  let heap = 0
  for (let index = 0; index < inputs; index++) {
    const from = target.corpus[random(target.corpus.length)]!
    const input = random(20) === 0 || from.length === 0 ? from : mutate(from, random)
    const before = performance.now()
    try {
      decoder.feed(input, random)
    } catch (error) {
      throw new Error(`${target.name}: ${(error as Error).stack}\n${hexOf(input)}`)
    }
    const ms = performance.now() - before
    if (ms > hangMs) throw new Error(`${target.name}: ${Math.round(ms)} ms for ${hexOf(input)}`)
    slowestMs = Math.max(slowestMs, ms)
    if (index % 10_000 === 0) {
      const excess = decoder.excess()
      if (excess.length > 0) throw new Error(`${target.name} remembers ${excess.join(', ')}`)
    }
    if (index === Math.floor(inputs / 10)) heap = heapNow(collect)
  }
  return {
    ...{ inputs, slowestMs, rows: decoder.rows, seconds: (performance.now() - began) / 1000 },
    problems: [...decoder.problems.values()].reduce((sum, one) => sum + one, 0),
    grownBytes: collect === undefined ? null : heapNow(collect) - heap,
  }
}

function heapNow(collect: (() => void) | undefined): number {
  collect?.()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

function hexOf(input: Uint8Array): string {
  return Buffer.from(input).toString('hex')
}
