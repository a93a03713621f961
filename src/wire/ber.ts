/**
 * The part of ASN.1's Basic Encoding Rules that SNMP uses (X.690; RFC 3416 §3): tags of one byte,
 * definite lengths, integers, object identifiers. Nothing here recurses or trusts a length.
 */

/** One element: its tag and where its contents lie. */
export interface Element {
  tag: number
  start: number
  end: number
}

/** The element at `at` inside bytes[…, end), undefined if it is malformed or does not fit. */
export function readElement(bytes: Uint8Array, at: number, end: number): Element | undefined {
  if (at + 2 > end) return undefined
  const tag = bytes[at]!
  // High tag numbers go on in further bytes; SNMP has none.
  if ((tag & 0x1f) === 0x1f) return undefined
  let length = bytes[at + 1]!
  let start = at + 2
  if (length > 0x7f) {
    const width = length & 0x7f
    if (width === 0 || width > 4 || start + width > end) return undefined
    length = 0
    for (let i = 0; i < width; i++) length = length * 256 + bytes[start++]!
  }
  if (start + length > end) return undefined
  return { tag, start, end: start + length }
}

/** Like `readElement`, and undefined unless the tag is `tag`. */
export function expectElement(
  bytes: Uint8Array,
  at: number,
  end: number,
  tag: number,
): Element | undefined {
  const element = readElement(bytes, at, end)
  return element?.tag === tag ? element : undefined
}

/** A signed integer of 1 to 6 bytes, undefined if it has none or more. */
export function readSigned(bytes: Uint8Array, { start, end }: Element): number | undefined {
  if (end <= start || end - start > 6) return undefined
  let value = bytes[start]! > 0x7f ? -1 : 0
  for (let i = start; i < end; i++) value = value * 256 + bytes[i]!
  return value
}

/** An unsigned integer of 1 to 9 bytes in decimal; senders forget the leading zero byte. */
export function readUnsigned(bytes: Uint8Array, { start, end }: Element): string | undefined {
  if (end <= start || end - start > 9) return undefined
  let value = 0n
  for (let i = start; i < end; i++) value = (value << 8n) | BigInt(bytes[i]!)
  return value.toString()
}

/** RFC 3416 §3 allows 128 sub-identifiers of 32 bits. */
const maxSubIds = 128

/** An object identifier in dotted form without a leading dot, undefined if it is malformed. */
export function readOid(bytes: Uint8Array, { start, end }: Element): string | undefined {
  if (end <= start || bytes[end - 1]! > 0x7f) return undefined
  let oid = ''
  let subId = 0
  let count = 0
  for (let i = start; i < end; i++) {
    subId = subId * 128 + (bytes[i]! & 0x7f)
    if (subId > 0xffff_ffff) return undefined
    if (bytes[i]! > 0x7f) continue
    if (count === 0) {
      // X.690 §8.19.4: the first two are one number.
      const first = Math.min(2, Math.floor(subId / 40))
      oid = `${first}.${subId - 40 * first}`
      count = 2
    } else {
      if (++count > maxSubIds) return undefined
      oid += `.${subId}`
    }
    subId = 0
  }
  return oid
}
