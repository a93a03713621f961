/**
 * A template compiled: the steps that turn one record into one row, worked out when the template
 * arrives, so that a record is a loop over integers.
 */
import { flowTable } from '../telemetry/flow.ts'
import {
  alternatives,
  type Element,
  elements,
  type FlowColumn,
  type Form,
  type Note,
  notes,
  oneWay,
  opposite,
  responderElements,
  reverseEnterprise,
  variableLength,
} from './fields.ts'

/** Steps are four numbers each: what to do, its target, where, and how many bytes. */
export const stepSize = 4

/**
 * What a step does. Where the width in the record is the common one, the step knows it and reads
 * no length; `number` and `wide` are for every other width.
 */
export const action = {
  byteTo8: 0,
  shortTo16: 1,
  wordTo32: 2,
  shortTo32: 3,
  byteTo16: 4,
  wordToWide: 5,
  longToWide: 6,
  v4: 7,
  v6: 8,
  v4IfSet: 9,
  v6IfSet: 10,
  number: 11,
  wide: 12,
  mpls: 13,
  application: 14,
  forwarding: 15,
  icmpType: 16,
  icmpCode: 17,
  // Up to here a value is a cell by itself; from here on it is put together with others of its record.
  uptime: 18,
  note: 19,
  seconds: 20,
  micros: 21,
  ntp: 22,
  age: 23,
  boot: 24,
  frame: 25,
  packet: 26,
} as const

/** What a record's finish has to do beyond the steps. */
export const trait = {
  counters: 1,
  /** The record is of an event (IE 230, 233), if its column is not zero. */
  event: 2,
  /** Counters of events are totals so far, not what came since the event before. */
  eventTotals: 4,
  notes: 8,
  first: 16,
  last: 32,
  duration: 64,
  observed: 128,
  /** The record states a sampling rate. */
  rate: 256,
  /** The record names a sampler. */
  sampler: 512,
  direction: 1024,
  /** The record is a sampled packet: its columns come from the packet's headers. */
  section: 2048,
  /** What is noted of a record is needed before the next one is looked at. */
  alone: 4096,
} as const

export interface Plan {
  /**
   * Values that are cells by themselves. Offsets are bytes from the record's begin; in a template of
   * variable length they are field indexes.
   */
  readonly columns: Int32Array
  /** The others. */
  readonly steps: Int32Array
  readonly traits: number
}

/** Fields of a template, three numbers each: element, length, enterprise. */
export type Fields = Uint32Array

const columns = flowTable.columns
const columnIndex = new Map<string, number>(columns.map((column, index) => [column.name, index]))
const noteIndex = new Map<string, number>(notes.map((note, index) => [note, index]))

interface Candidate {
  element: Element
  field: number
  offset: number
  length: number
}

/**
 * Compiles the fields of a data template.
 * @param reverse the row of the opposite direction (RFC 5103); undefined if the template has none
 */
export function compilePlan(fields: Fields, reverse: boolean): Plan | undefined {
  const has = (id: number) => findField(fields, id, 0)
  const twoWay = has(232) || has(299)
  if (reverse && !twoWay && !hasReverseCounters(fields)) return undefined

  const byTarget = new Map<string, Candidate[]>()
  let offset = 0
  const variable = isVariable(fields)
  for (let field = 0; 3 * field < fields.length; field++) {
    const length = fields[3 * field + 1]!
    const element = elementFor(fields[3 * field]!, fields[3 * field + 2]!, reverse, twoWay)
    if (element !== undefined && fits(element.form, length)) {
      const candidate = { element, field, offset: variable ? field : offset, length }
      const key = element.form === 'boot' ? 'boot' : element.target
      const others = byTarget.get(key)
      if (others) others.push(candidate)
      else byTarget.set(key, [candidate])
    }
    offset += length
  }

  const steps: number[] = []
  for (const [target, candidates] of byTarget) {
    for (const chosen of choose(target, candidates)) {
      const several = candidates.length > 1
      steps.push(...stepOf(chosen, several))
    }
  }
  const [columns, rest] = apart(steps)
  return {
    columns: Int32Array.from(columns),
    steps: bootFirst(rest),
    traits: traitsOf(byTarget, fields),
  }
}

function apart(steps: readonly number[]): [columns: number[], rest: number[]] {
  const columns: number[] = []
  const rest: number[] = []
  for (let at = 0; at < steps.length; at += stepSize) {
    const into = steps[at]! < action.uptime ? columns : rest
    into.push(...steps.slice(at, at + stepSize))
  }
  return [columns, rest]
}

function elementFor(
  id: number,
  enterprise: number,
  reverse: boolean,
  twoWay: boolean,
): Element | undefined {
  if (enterprise === reverseEnterprise) {
    const element = reverse ? elements.get(id) : undefined
    // The value of this direction comes before a forward one of the same meaning.
    return element && { ...element, rank: element.rank - 100 }
  }
  if (enterprise !== 0) return undefined
  if (!reverse) {
    const element = elements.get(id)
    // Initiator and responder are one direction each; a plain counter beside them may be both.
    return twoWay && (id === 231 || id === 298) ? { ...element!, rank: -1 } : element
  }
  const responder = responderElements.get(id)
  if (responder) return responder
  const element = elements.get(id)
  return element === undefined || oneWay.has(element.target) ? undefined : mirror(element)
}

/** A forward value as the opposite direction sees it. */
function mirror(element: Element): Element {
  const target = opposite.get(element.target)
  return target === undefined ? element : { ...element, target }
}

function choose(target: string, candidates: Candidate[]): Candidate[] {
  if (candidates.length === 1) return candidates
  if (target === 'icmp') return icmpParts(candidates)
  // Worst first, so that a better one that is not zero stays.
  const sorted = candidates.toSorted((a, b) => b.element.rank - a.element.rank || b.field - a.field)
  return alternatives.has(target) ? sorted : sorted.slice(-1)
}

/** Type and code are one value, or one each. */
function icmpParts(candidates: Candidate[]): Candidate[] {
  const whole = candidates.filter(candidate => candidate.element.form === 'number')
  return whole.length > 0 ? whole : candidates
}

function stepOf(candidate: Candidate, several: boolean): number[] {
  const { element, offset, length } = candidate
  const column = columnIndex.get(element.target)
  const target = column ?? noteIndex.get(element.target)!
  return [actionOf(element, length, several), target, offset, length]
}

function actionOf(element: Element, length: number, several: boolean): number {
  switch (element.form) {
    case 'number':
      return numberAction(element.target, length, several)
    case 'v4':
      return several ? action.v4IfSet : action.v4
    case 'v6':
      return several ? action.v6IfSet : action.v6
    case 'mpls':
    case 'application':
    case 'forwarding':
    case 'icmpType':
    case 'icmpCode':
    case 'seconds':
    case 'micros':
    case 'ntp':
    case 'age':
    case 'boot':
    case 'frame':
    case 'packet':
    case 'uptime':
      return action[element.form]
  }
}

function numberAction(target: FlowColumn | Note, length: number, several: boolean): number {
  const index = columnIndex.get(target)
  if (index === undefined) return action.note
  const { type } = columns[index]!
  // Of several, one that is zero leaves what is there.
  if (several && type !== 'UInt64') return action.number
  switch (type) {
    case 'UInt8':
      return length === 1 ? action.byteTo8 : action.number
    case 'UInt16':
      return length === 2 ? action.shortTo16 : length === 1 ? action.byteTo16 : action.number
    case 'UInt32':
      return length === 4 ? action.wordTo32 : length === 2 ? action.shortTo32 : action.number
    default:
      return length === 4 ? action.wordToWide : length === 8 ? action.longToWide : action.wide
  }
}

const variableForms: readonly Form[] = ['number', 'application', 'frame', 'packet']

/** Whether a field of that length can be read in that form at all. */
function fits(form: Form, length: number): boolean {
  if (length === variableLength) return variableForms.includes(form)
  switch (form) {
    case 'v4':
    case 'uptime':
      return length === 4
    case 'v6':
      return length === 16
    case 'ntp':
      return length === 8
    case 'mpls':
      return length === 3
    case 'application':
    case 'frame':
    case 'packet':
      return length > 0
    default:
      return length >= 1 && length <= 8
  }
}

/** Uptimes can only be read when the moment of the boot is known. */
function bootFirst(steps: number[]): Int32Array {
  const ordered: number[] = []
  const rest: number[] = []
  for (let at = 0; at < steps.length; at += stepSize) {
    const into = steps[at] === action.boot ? ordered : rest
    into.push(...steps.slice(at, at + stepSize))
  }
  return Int32Array.from([...ordered, ...rest])
}

function traitsOf(byTarget: Map<string, Candidate[]>, fields: Fields): number {
  const has = (target: FlowColumn | Note) => byTarget.has(target)
  let traits = 0
  if (has('bytes') || has('packets')) traits |= trait.counters
  if (has('event')) traits |= trait.event
  if (has('event') && !findField(fields, 1, 0)) traits |= trait.eventTotals
  if (notes.some(has)) traits |= trait.notes
  if (has('first')) traits |= trait.first
  if (has('last')) traits |= trait.last
  if (has('duration')) traits |= trait.duration
  if (has('observed')) traits |= trait.observed
  if (has('rate') || has('interval') || has('size')) traits |= trait.rate
  if (has('sampler')) traits |= trait.sampler
  if (has('direction')) traits |= trait.direction
  if (has('section') || byTarget.has('boot')) traits |= trait.alone
  if (has('section') && !has('bytes') && !has('src_addr')) traits |= trait.section | trait.counters
  return traits
}

export function isVariable(fields: Fields): boolean {
  for (let at = 1; at < fields.length; at += 3) if (fields[at] === variableLength) return true
  return false
}

/** Bytes of the smallest record: a field of variable length is at least its length byte. */
export function smallestRecord(fields: Fields): number {
  let sum = 0
  for (let at = 1; at < fields.length; at += 3) {
    sum += fields[at] === variableLength ? 1 : fields[at]!
  }
  return sum
}

function findField(fields: Fields, id: number, enterprise: number): boolean {
  for (let at = 0; at < fields.length; at += 3) {
    if (fields[at] === id && fields[at + 2] === enterprise) return true
  }
  return false
}

function hasReverseCounters(fields: Fields): boolean {
  for (let at = 0; at < fields.length; at += 3) {
    const target = fields[at + 2] === reverseEnterprise && elements.get(fields[at]!)?.target
    if (target === 'bytes' || target === 'packets') return true
  }
  return false
}
