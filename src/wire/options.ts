/** Options records (RFC 3954 §6, RFC 7011 §3.4.2): what exporters say of themselves. */
import { variableLength } from './fields.ts'
import { read16, readNumber } from './octets.ts'
import { type Announcement, clampRate, rateOfInterval, rateOfPopulation } from './sampling.ts'
import type { Template } from './templates.ts'

export interface OptionsRecord {
  /** Bytes of the record; −1 if it does not fit. */
  length: number
  /** The sampling rate that it announces, undefined if none. */
  sampling: Announcement | undefined
  /** When the exporter started (IE 160), undefined if it does not say. */
  boot: number | undefined
}

const elementNames = new Map<number, keyof Values>([
  [10, 'interface'],
  [34, 'rate'],
  [48, 'sampler'],
  [50, 'rate'],
  [160, 'boot'],
  [302, 'sampler'],
  [305, 'interval'],
  [306, 'space'],
  [309, 'size'],
  [310, 'population'],
  [311, 'probability'],
])

interface Values {
  interface?: number
  rate?: number
  sampler?: number
  boot?: number
  interval?: number
  space?: number
  size?: number
  population?: number
  probability?: number
}

/** Whether records of that template can tell anything that is asked for here. */
export function tellsAnything(template: Template): boolean {
  const { fields } = template
  for (let at = 0; at < fields.length; at += 3) {
    if (fields[at + 2] === 0 && elementNames.has(fields[at]!) && fields[at] !== 10) return true
  }
  return false
}

export function readOptions(
  template: Template,
  bytes: Uint8Array,
  from: number,
  end: number,
): OptionsRecord {
  const values: Values = {}
  const { fields } = template
  let at = from
  for (let field = 0; 3 * field < fields.length; field++) {
    let length = fields[3 * field + 1]!
    if (length === variableLength) {
      length = at < end ? bytes[at++]! : end
      if (length === 255) {
        length = read16(bytes, at)
        at += 2
      }
    }
    if (at + length > end) return { length: -1, sampling: undefined, boot: undefined }
    const name = fields[3 * field + 2] === 0 ? elementNames.get(fields[3 * field]!) : undefined
    // An interface is what the record is about only in its scope.
    if (name !== undefined && length > 0 && (name !== 'interface' || field < template.scopes)) {
      values[name] =
        name === 'probability' ? readFloat(bytes, at, length) : readNumber(bytes, at, length)
    }
    at += length
  }
  return { length: at - from, sampling: announcementOf(values), boot: values.boot }
}

function announcementOf(values: Values): Announcement | undefined {
  const { rate, interval, space = 0, size, population = 0, probability } = values
  let announced: number
  if (interval !== undefined) announced = rateOfInterval(interval, space)
  else if (size !== undefined) announced = rateOfPopulation(size, population)
  else if (probability !== undefined) announced = clampRate(1 / probability)
  else if (rate !== undefined) announced = clampRate(rate)
  else return undefined
  // An interval of 0 is how some say that they do not sample.
  return { sampler: values.sampler, interface: values.interface, rate: announced || 1 }
}

/** float64 in network order, or reduced to float32 (RFC 7011 §6.2); 0 for other lengths. */
function readFloat(bytes: Uint8Array, at: number, length: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, length)
  return length === 8 ? view.getFloat64(0) : length === 4 ? view.getFloat32(0) : 0
}
