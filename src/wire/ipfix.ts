/** IPFIX (RFC 7011): the message and its templates; sets are walked as those of NetFlow 9. */
import { isZero, type SetVisitor, walkSets } from './netflow-v9.ts'
import { read16, read32 } from './octets.ts'

export const headerLength = 16
const templateSet = 2
const optionsTemplateSet = 3
const enterpriseBit = 0x8000

/** Wall time of the header in milliseconds. */
export function exportedOf(bytes: Uint8Array): number {
  return read32(bytes, 4) * 1000
}

export function walkIpfix(bytes: Uint8Array, visitor: SetVisitor): void {
  const length = read16(bytes, 2)
  if (length > bytes.length) visitor.problem('truncated')
  else if (length < bytes.length) visitor.problem('trailing-bytes')
  const end = Math.max(headerLength, Math.min(length, bytes.length))
  walkSets(bytes, headerLength, end, visitor, (id, at, setEnd) => {
    if (id !== templateSet && id !== optionsTemplateSet) return false
    walkTemplates(bytes, at, setEnd, id === optionsTemplateSet, visitor)
    return true
  })
}

function walkTemplates(
  bytes: Uint8Array,
  from: number,
  end: number,
  options: boolean,
  visitor: SetVisitor,
) {
  let at = from
  while (end - at >= 4) {
    const id = read16(bytes, at)
    const count = read16(bytes, at + 2)
    if (id === 0 && isZero(bytes, at, end)) return
    at += 4
    if (count === 0) {
      visitor.withdraw(id, options)
      continue
    }
    let scopes = 0
    if (options) {
      scopes = at + 2 <= end ? read16(bytes, at) : 0
      at += 2
      if (scopes === 0) {
        visitor.problem('bad-template')
        return
      }
    }
    // Each field is at least 4 bytes, so a count that does not fit costs no memory.
    if (at + 4 * count > end) {
      visitor.problem('bad-template')
      return
    }
    const fields = new Uint32Array(3 * count)
    for (let field = 0; field < count; field++) {
      if (at + 4 > end) {
        visitor.problem('bad-template')
        return
      }
      const element = read16(bytes, at)
      fields[3 * field] = element & ~enterpriseBit
      fields[3 * field + 1] = read16(bytes, at + 2)
      at += 4
      if ((element & enterpriseBit) === 0) continue
      fields[3 * field + 2] = at + 4 <= end ? read32(bytes, at) : 0
      at += 4
    }
    if (at > end) {
      visitor.problem('bad-template')
      return
    }
    visitor.template({ id, options, scopes, fields })
  }
}
