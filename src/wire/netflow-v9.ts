/** NetFlow 9 (RFC 3954): the message, its sets and its two kinds of template. */

import { read16, read32 } from './octets.ts'
import type { FlowProblem } from './problems.ts'
import type { Definition } from './templates.ts'

export const headerLength = 20
const setHeaderLength = 4

/** Scope types are numbers of their own (RFC 3954 §6.1); here they become elements. */
const systemScope = 1
const interfaceScope = 2
const lastScopeType = 5
const ingressInterface = 10

/** What a walk over a message does with what it finds. */
export interface SetVisitor {
  template(definition: Definition): void
  data(bytes: Uint8Array, at: number, end: number, template: number): void
  problem(problem: FlowProblem): void
  /** A template is taken back; or all of its kind, if `id` is the id of their set. */
  withdraw(id: number, options: boolean): void
}

/** Wall time of the header in milliseconds. */
export function exportedOf(bytes: Uint8Array): number {
  return read32(bytes, 8) * 1000
}

/** Walks the sets of a message by their lengths: the header's count is of records and often wrong. */
export function walkNetflowV9(bytes: Uint8Array, visitor: SetVisitor): void {
  walkSets(bytes, headerLength, bytes.length, visitor, (id, at, end) => {
    if (id === 0) walkTemplates(bytes, at, end, visitor)
    else if (id === 1) walkOptionsTemplates(bytes, at, end, visitor)
    else return false
    return true
  })
}

/**
 * Walks sets, of NetFlow 9 and IPFIX alike.
 * @param define takes a set of templates; false if its id is none of them
 */
export function walkSets(
  bytes: Uint8Array,
  from: number,
  to: number,
  visitor: SetVisitor,
  define: (id: number, at: number, end: number) => boolean,
): void {
  let at = from
  while (to - at >= setHeaderLength) {
    const id = read16(bytes, at)
    const length = read16(bytes, at + 2)
    if (length < setHeaderLength) {
      // Palo Alto and Cisco ACI fill datagrams up with zeros.
      visitor.problem(isZero(bytes, at, to) ? 'trailing-bytes' : 'bad-set-length')
      return
    }
    let end = at + length
    if (end > to) {
      visitor.problem('set-truncated')
      end = to
    }
    if (id >= 256) visitor.data(bytes, at + setHeaderLength, end, id)
    else if (!define(id, at + setHeaderLength, end)) visitor.problem('unknown-set')
    at = end
  }
}

function walkTemplates(bytes: Uint8Array, from: number, end: number, visitor: SetVisitor) {
  let at = from
  while (end - at >= 4) {
    const id = read16(bytes, at)
    const count = read16(bytes, at + 2)
    if (id === 0 && isZero(bytes, at, end)) return
    at += 4
    if (at + 4 * count > end) {
      visitor.problem('bad-template')
      return
    }
    visitor.template({ id, options: false, scopes: 0, fields: readFields(bytes, at, count) })
    at += 4 * count
  }
}

function walkOptionsTemplates(bytes: Uint8Array, from: number, end: number, visitor: SetVisitor) {
  let at = from
  while (end - at >= 6) {
    const id = read16(bytes, at)
    if (id === 0 && isZero(bytes, at, end)) return
    // Lengths in bytes, not counts of fields.
    const scopes = read16(bytes, at + 2) >> 2
    const count = scopes + (read16(bytes, at + 4) >> 2)
    at += 6
    if (at + 4 * count > end) {
      visitor.problem('bad-template')
      return
    }
    const fields = readFields(bytes, at, count)
    for (let scope = 0; scope < scopes; scope++) {
      const type = fields[3 * scope]!
      if (type >= systemScope && type <= lastScopeType) {
        fields[3 * scope] = type === interfaceScope ? ingressInterface : 0
      }
    }
    visitor.template({ id, options: true, scopes, fields })
    at += 4 * count
  }
}

function readFields(bytes: Uint8Array, at: number, count: number): Uint32Array {
  const fields = new Uint32Array(3 * count)
  for (let field = 0; field < count; field++) {
    fields[3 * field] = read16(bytes, at + 4 * field)
    fields[3 * field + 1] = read16(bytes, at + 4 * field + 2)
  }
  return fields
}

export function isZero(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (bytes[i] !== 0) return false
  return true
}
