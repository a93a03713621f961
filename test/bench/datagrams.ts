/**
 * Flow datagrams as a busy edge router sends them, built before a run: the same flows in each
 * format. 131,072 client addresses, 16,384 servers of which few get most, 1,000 service ports; packet
 * counts and sizes vary by orders of magnitude, so that nothing compresses better than real traffic.
 * Sources: Cisco "NetFlow export datagram format" (v5), RFC 3954 (v9), RFC 7011 (IPFIX).
 */

export const formats = ['v5', 'v9', 'ipfix'] as const
export type Format = (typeof formats)[number]

/** Who sends: every exporter has its own address and its own sequence. */
export const exporters = 8
/** Divisible by the exporters; 184,320 and more records until they repeat. */
const datagramsInPool = 9216

export interface Pool {
  datagrams: Buffer[]
  /** Records in every one of them. */
  records: number
  /** Where the sequence number stands, and by how much it rises with a datagram. */
  sequenceAt: number
  sequenceStep: number
}

export interface Flow {
  src: number
  dst: number
  nextHop: number
  input: number
  output: number
  packets: number
  bytes: number
  /** Milliseconds before the datagram was sent. */
  began: number
  ended: number
  srcPort: number
  dstPort: number
  flags: number
  protocol: number
  tos: number
  srcAs: number
  dstAs: number
}

/** Records of a datagram; each datagram stays below an Ethernet frame's 1,472 bytes of payload. */
export const recordsPerDatagram: Record<Format, number> = { v5: 30, v9: 25, ipfix: 20 }

/**
 * @param now of the export, milliseconds since 1970
 * @param senders of which each sends its template first
 */
export function buildPool(format: Format, now: number, senders = exporters): Pool {
  const records = recordsPerDatagram[format]
  const next = createFlows()
  const build = { v5: netflow5, v9: netflow9, ipfix }[format]
  const datagrams = Array.from({ length: datagramsInPool }, (_, index) => {
    const flows = Array.from({ length: records }, next)
    return build(flows, now, index < senders)
  })
  return {
    datagrams,
    records,
    sequenceAt: { v5: 16, v9: 12, ipfix: 8 }[format],
    sequenceStep: format === 'v9' ? 1 : records,
  }
}

export function createFlows(): () => Flow {
  const random = createRandom()
  const upTo = (most: number) => Math.floor(random() * most)
  let count = 0
  return () => {
    const packets = Math.ceil(2 ** (random() * 12))
    const tcp = random() < 0.8
    const ended = upTo(15_000)
    // An odd factor makes every client come once before any comes again.
    const src = 0x0a000000 + ((count++ * 40_503) & 0x1ffff)
    return {
      src,
      dst: 0xc6120000 + Math.floor(random() ** 3 * 16_384),
      nextHop: 0xc0000201 + upTo(4),
      input: 1 + upTo(48),
      output: 1 + upTo(4),
      packets,
      bytes: packets * (40 + upTo(1460)),
      began: ended + upTo(45_000),
      ended,
      srcPort: 32_768 + upTo(1000),
      dstPort: 1 + Math.floor(random() ** 2 * 1000),
      flags: tcp ? 0x1b : 0,
      protocol: tcp ? 6 : 17,
      tos: random() < 0.9 ? 0 : 0xb8,
      srcAs: 64_512 + (src & 0x1f),
      dstAs: 1 + upTo(2000),
    }
  }
}

/** The same numbers in every run: xorshift, 32 bits. */
function createRandom(): () => number {
  let state = 0x9e3779b9
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 0x1_0000_0000
  }
}

const uptime = 864_000_000

function netflow5(flows: readonly Flow[], now: number): Buffer {
  const out = Buffer.alloc(24 + 48 * flows.length)
  out.writeUInt16BE(5, 0)
  out.writeUInt16BE(flows.length, 2)
  out.writeUInt32BE(uptime, 4)
  out.writeUInt32BE(Math.floor(now / 1000), 8)
  for (const [index, flow] of flows.entries()) {
    const at = 24 + 48 * index
    out.writeUInt32BE(flow.src, at)
    out.writeUInt32BE(flow.dst, at + 4)
    out.writeUInt32BE(flow.nextHop, at + 8)
    out.writeUInt16BE(flow.input, at + 12)
    out.writeUInt16BE(flow.output, at + 14)
    out.writeUInt32BE(flow.packets, at + 16)
    out.writeUInt32BE(flow.bytes, at + 20)
    out.writeUInt32BE(uptime - flow.began, at + 24)
    out.writeUInt32BE(uptime - flow.ended, at + 28)
    out.writeUInt16BE(flow.srcPort, at + 32)
    out.writeUInt16BE(flow.dstPort, at + 34)
    out[at + 37] = flow.flags
    out[at + 38] = flow.protocol
    out[at + 39] = flow.tos
    out.writeUInt16BE(flow.srcAs, at + 40)
    out.writeUInt16BE(flow.dstAs, at + 42)
    out[at + 44] = 24
    out[at + 45] = 22
  }
  return out
}

type Field = readonly [element: number, bytes: number, value: (flow: Flow, now: number) => number]

/** Field type or information element (the numbers are the same), bytes, value. */
const fieldsOf = (counterBytes: number, wordBytes: number, times: readonly Field[]): Field[] => [
  [8, 4, flow => flow.src],
  [12, 4, flow => flow.dst],
  [15, 4, flow => flow.nextHop],
  [10, wordBytes, flow => flow.input],
  [14, wordBytes, flow => flow.output],
  [2, counterBytes, flow => flow.packets],
  [1, counterBytes, flow => flow.bytes],
  ...times,
  [7, 2, flow => flow.srcPort],
  [11, 2, flow => flow.dstPort],
  [6, 1, flow => flow.flags],
  [4, 1, flow => flow.protocol],
  [5, 1, flow => flow.tos],
  [16, wordBytes, flow => flow.srcAs],
  [17, wordBytes, flow => flow.dstAs],
  [9, 1, () => 24],
  [13, 1, () => 22],
]
const netflow9Fields = fieldsOf(4, 2, [
  [22, 4, flow => uptime - flow.began],
  [21, 4, flow => uptime - flow.ended],
])
const ipfixFields = fieldsOf(8, 4, [
  [152, 8, (flow, now) => now - flow.began],
  [153, 8, (flow, now) => now - flow.ended],
])

/** Bytes of a record of `netflow9`; its source address stands first. */
export const netflow9RecordBytes = netflow9Fields.reduce((sum, [, bytes]) => sum + bytes, 0)

export function netflow9(flows: readonly Flow[], now: number, withTemplate: boolean): Buffer {
  const header = Buffer.alloc(20)
  header.writeUInt16BE(9, 0)
  header.writeUInt16BE(flows.length + Number(withTemplate), 2)
  header.writeUInt32BE(uptime, 4)
  header.writeUInt32BE(Math.floor(now / 1000), 8)
  header.writeUInt32BE(1, 16)
  return Buffer.concat([header, ...sets(netflow9Fields, 0, flows, now, withTemplate)])
}

function ipfix(flows: readonly Flow[], now: number, withTemplate: boolean): Buffer {
  const header = Buffer.alloc(16)
  const out = Buffer.concat([header, ...sets(ipfixFields, 2, flows, now, withTemplate)])
  out.writeUInt16BE(10, 0)
  out.writeUInt16BE(out.length, 2)
  out.writeUInt32BE(Math.floor(now / 1000), 4)
  out.writeUInt32BE(1, 12)
  return out
}

const templateId = 256

function sets(
  fields: readonly Field[],
  templateSetId: number,
  flows: readonly Flow[],
  now: number,
  withTemplate: boolean,
): Buffer[] {
  const template = Buffer.alloc(8 + 4 * fields.length)
  template.writeUInt16BE(templateSetId, 0)
  template.writeUInt16BE(template.length, 2)
  template.writeUInt16BE(templateId, 4)
  template.writeUInt16BE(fields.length, 6)
  for (const [index, [element, bytes]] of fields.entries()) {
    template.writeUInt16BE(element, 8 + 4 * index)
    template.writeUInt16BE(bytes, 10 + 4 * index)
  }
  const recordBytes = fields.reduce((sum, [, bytes]) => sum + bytes, 0)
  const data = Buffer.alloc((4 + recordBytes * flows.length + 3) & ~3)
  data.writeUInt16BE(templateId, 0)
  data.writeUInt16BE(data.length, 2)
  let at = 4
  for (const flow of flows) {
    for (const [, bytes, value] of fields) {
      const number = value(flow, now)
      if (bytes === 8) data.writeBigUInt64BE(BigInt(number), at)
      else data.writeUIntBE(number, at, bytes)
      at += bytes
    }
  }
  return withTemplate ? [template, data] : [data]
}
