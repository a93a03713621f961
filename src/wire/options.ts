/** Options records (RFC 3954 §6, RFC 7011 §3.4.2): what exporters say of themselves. */
import { type NamedThing, namedThing } from '../telemetry/name.ts'
import { variableLength } from './fields.ts'
import { read16, readApplication, readNumber } from './octets.ts'
import { type Announcement, clampRate, rateOfInterval, rateOfPopulation } from './sampling.ts'
import type { Template } from './templates.ts'

export interface OptionsRecord {
  /** Bytes of the record; −1 if it does not fit. */
  length: number
  /** The sampling rate that it announces, undefined if none. */
  sampling: Announcement | undefined
  /** When the exporter started (IE 160), undefined if it does not say. */
  boot: number | undefined
  /** What it calls one of its things. */
  named: Named | undefined
}

export interface Named {
  what: NamedThing
  id: number
  name: string
  /** Empty if it does not say. */
  description: string
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
  [14, 'interface'],
  [252, 'interface'],
  [253, 'interface'],
  [95, 'application'],
  [234, 'vrf'],
])

const textNames = new Map<number, keyof Texts>([
  [82, 'interface'],
  [83, 'interfaceDescription'],
  [96, 'application'],
  [94, 'applicationDescription'],
  [236, 'vrf'],
])

/** Elements that say nothing by themselves. */
const keys: readonly (keyof Values)[] = ['interface', 'application', 'vrf']

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
  application?: number
  vrf?: number
}

interface Texts {
  interface?: string
  interfaceDescription?: string
  application?: string
  applicationDescription?: string
  vrf?: string
}

/** Whether records of that template can tell anything that is asked for here. */
export function tellsAnything(template: Template): boolean {
  const { fields } = template
  for (let at = 0; at < fields.length; at += 3) {
    if (fields[at + 2] !== 0) continue
    const name = elementNames.get(fields[at]!)
    if (textNames.has(fields[at]!) || (name !== undefined && !keys.includes(name))) return true
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
  const texts: Texts = {}
  let aboutInterface = false
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
    if (at + length > end) {
      return { length: -1, sampling: undefined, boot: undefined, named: undefined }
    }
    const id = fields[3 * field + 2] === 0 ? fields[3 * field]! : 0
    const name = elementNames.get(id)
    if (name !== undefined && length > 0) {
      if (name === 'interface' && field < template.scopes) aboutInterface = true
      values[name] = readValue(name, bytes, at, length)
    }
    const text = textNames.get(id)
    if (text !== undefined) {
      texts[text] = Buffer.from(bytes.buffer, bytes.byteOffset + at, length).toString('utf8')
    }
    at += length
  }
  const named = namedBy(values, texts)
  // An interface is what a rate is about only in the record's scope.
  if (!aboutInterface) delete values.interface
  return { length: at - from, sampling: announcementOf(values), boot: values.boot, named }
}

function readValue(name: keyof Values, bytes: Uint8Array, at: number, length: number): number {
  if (name === 'probability') return readFloat(bytes, at, length)
  if (name === 'application') return readApplication(bytes, at, length)
  return readNumber(bytes, at, length)
}

function namedBy(values: Values, texts: Texts): Named | undefined {
  const named = (
    what: NamedThing,
    id: number | undefined,
    name: string | undefined,
    description = '',
  ): Named | undefined =>
    id === undefined || id === 0 || id > 0xffff_ffff || name === undefined
      ? undefined
      : { what, id, name, description }
  return (
    named(
      namedThing.application,
      values.application,
      texts.application,
      texts.applicationDescription,
    ) ??
    named(namedThing.vrf, values.vrf, texts.vrf) ??
    named(
      namedThing.interface,
      values.interface,
      texts.interface ?? texts.interfaceDescription,
      texts.interface === undefined ? '' : texts.interfaceDescription,
    )
  )
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
