/**
 * What exporters say of their interfaces: options of NetFlow v9 (RFC 3954 §6.1) and IPFIX
 * (RFC 7011 §3.4.2), counter samples of sFlow version 5.
 */

export interface SimulatedInterface {
  /** ifIndex. */
  index: number
  name: string
  description: string
}

/** What an interface has counted. */
export interface SimulatedCounters {
  inOctets: number
  inPackets: number
  outOctets: number
  outPackets: number
}

const optionsTemplateId = 257
const nameBytes = 24
const descriptionBytes = 32
/** interfaceName, interfaceDescription. */
const texts = [
  [82, nameBytes],
  [83, descriptionBytes],
] as const
const gigabit = 1_000_000_000

/** Options template and records, scoped by interface. */
export function netflow9Names(interfaces: readonly SimulatedInterface[]): Buffer[] {
  const template = numbers(2, [optionsTemplateId, 4, 4 * texts.length, 2, 4, ...texts.flat()])
  return [set(1, template), set(optionsTemplateId, Buffer.concat(interfaces.map(record)))]
}

export function ipfixNames(interfaces: readonly SimulatedInterface[]): Buffer[] {
  const template = numbers(2, [optionsTemplateId, 1 + texts.length, 1, 10, 4, ...texts.flat()])
  return [set(3, template), set(optionsTemplateId, Buffer.concat(interfaces.map(record)))]
}

/** A counter sample of one interface: generic counters, and its name. */
export function sflowCounters(
  { index, name }: SimulatedInterface,
  sequence: number,
  counters: SimulatedCounters,
): Buffer {
  const { inOctets, inPackets, outOctets, outPackets } = counters
  const generic = Buffer.concat([
    numbers(4, [index, 6]),
    wide(gigabit),
    numbers(4, [1, 3]),
    wide(inOctets),
    numbers(4, [inPackets >>> 0, 0, 0, 0, 0, 0]),
    wide(outOctets),
    numbers(4, [outPackets >>> 0, 0, 0, 0, 0, 0]),
  ])
  const text = Buffer.from(name)
  const padding = Buffer.alloc((4 - (text.length % 4)) % 4)
  const portName = Buffer.concat([numbers(4, [text.length]), text, padding])
  const body = Buffer.concat([
    numbers(4, [sequence, index, 2, 1, generic.length]),
    generic,
    numbers(4, [1005, portName.length]),
    portName,
  ])
  return Buffer.concat([numbers(4, [2, body.length]), body])
}

function record({ index, name, description }: SimulatedInterface): Buffer {
  const out = Buffer.alloc(4 + nameBytes + descriptionBytes)
  out.writeUInt32BE(index, 0)
  out.write(name.slice(0, nameBytes), 4)
  out.write(description.slice(0, descriptionBytes), 4 + nameBytes)
  return out
}

/** Padded to four bytes. */
function set(id: number, body: Buffer): Buffer {
  const out = Buffer.alloc((4 + body.length + 3) & ~3)
  out.writeUInt16BE(id, 0)
  out.writeUInt16BE(out.length, 2)
  body.copy(out, 4)
  return out
}

function numbers(width: 2 | 4, values: readonly number[]): Buffer {
  const out = Buffer.alloc(width * values.length)
  for (const [index, value] of values.entries()) out.writeUIntBE(value, width * index, width)
  return out
}

function wide(value: number): Buffer {
  const out = Buffer.alloc(8)
  out.writeBigUInt64BE(BigInt(value))
  return out
}
