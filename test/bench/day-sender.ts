/**
 * Sends a day of flows of many exporters in as little time as the rate allows: `day-sender.ts <port>
 * <exporters> <interfaces>`. Each exporter has an address, a socket and a sequence of its own, and
 * its share of the interfaces; in each minute each interface is the input of one flow and the
 * output of another. The minute that flows belong to is in the header of their datagram (NetFlow
 * v9, RFC 3954), as of an exporter that sends what it could not send before.
 *
 * A message is a span of minutes to send; the answer says what was sent.
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createFlows, netflow9, netflow9RecordBytes, recordsPerDatagram } from './datagrams.ts'

export interface DayRun {
  /** Seconds since 1970 of the first minute. */
  begin: number
  minutes: number
  flowsPerSecond: number
}

export interface DayReport {
  datagrams: number
  flows: number
  seconds: number
  cpuSeconds: number
}

const [port, exporters, interfaces] = process.argv.slice(2).map(Number) as [number, number, number]
/** Different minutes, sent in turn. */
const variants = 4
const clients = 131_072
const burst = 32
const pauseMs = 0.25
const perDatagram = recordsPerDatagram.v9
const services = [443, 53, 80, 22, 123, 3389, 445, 25, 993, 5060, 161, 8080, 1433, 3306, 389, 21]

interface Exporter {
  socket: Socket
  sequence: number
  /** Datagrams of a minute, by variant. */
  minutes: Datagram[][]
}

interface Datagram {
  bytes: Buffer
  /** Where its records begin. */
  at: number
  records: number
}

const next = createFlows()
const all = await Promise.all(Array.from({ length: exporters }, (_, index) => makeExporter(index)))
const neverWoken = new Int32Array(new SharedArrayBuffer(4))
let draws = 1

process.on('message', (run: DayRun) => process.send!(carryOut(run)))
process.on('disconnect', () => process.exit())
process.send!({ ready: true })

async function makeExporter(index: number): Promise<Exporter> {
  const socket = createSocket('udp4')
  socket.on('error', () => {})
  socket.bind(0, `127.30.${index >> 8}.${index & 255}`)
  await once(socket, 'listening')
  socket.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  const own = Math.max(1, Math.round(interfaces / exporters))
  const minutes = Array.from({ length: variants }, (_, variant) => {
    const flows = Array.from({ length: own }, (_, at) => ({
      ...next(),
      // Few services have most of the traffic.
      dstPort: services[Math.floor(services.length * Math.random() ** 3)]!,
      // Each is the input of one flow and the output of another.
      input: at + 1,
      output: ((at + 1 + variant) % own) + 1,
    }))
    const datagrams: Datagram[] = []
    for (let from = 0; from < flows.length; from += perDatagram) {
      const some = flows.slice(from, from + perDatagram)
      const bytes = netflow9(some, Date.now(), variant === 0 && from === 0)
      const set = (4 + netflow9RecordBytes * some.length + 3) & ~3
      datagrams.push({ bytes, at: bytes.length - set + 4, records: some.length })
    }
    return datagrams
  })
  return { socket, sequence: 0, minutes }
}

/** Does not return before it has sent everything: the process has nothing else to do. */
function carryOut({ begin, minutes, flowsPerSecond }: DayRun): DayReport {
  const cpu = process.cpuUsage()
  const began = performance.now()
  let datagrams = 0
  let flows = 0
  for (let minute = 0; minute < minutes; minute++) {
    for (const exporter of all) {
      for (const datagram of exporter.minutes[minute % variants]!) {
        sendAt(exporter, datagram, begin + 60 * minute + 59)
        flows += datagram.records
        if (++datagrams % burst === 0) holdBack(began, flows, flowsPerSecond)
      }
    }
  }
  const { user, system } = process.cpuUsage(cpu)
  return {
    datagrams,
    flows,
    seconds: (performance.now() - began) / 1000,
    cpuSeconds: (user + system) / 1e6,
  }
}

function holdBack(began: number, flows: number, flowsPerSecond: number) {
  while ((performance.now() - began) / 1000 < flows / flowsPerSecond) {
    Atomics.wait(neverWoken, 0, 0, pauseMs)
  }
}

/** @param second in which it says it was exported */
function sendAt(exporter: Exporter, { bytes, at, records }: Datagram, second: number) {
  bytes.writeUInt32BE(second, 8)
  bytes.writeUInt32BE(exporter.sequence++, 12)
  // Other clients in each minute.
  for (let record = 0; record < records; record++) {
    draws = (Math.imul(draws, 1_664_525) + 1_013_904_223) >>> 0
    bytes.writeUInt32BE(0x0a000000 + ((draws >>> 8) % clients), at + netflow9RecordBytes * record)
  }
  exporter.socket.send(bytes)
}
