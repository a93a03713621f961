import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createBatch } from '../telemetry/batch.ts'
import { encodeNative } from '../telemetry/native.ts'
import { tables } from '../telemetry/tables.ts'
import {
  compressBody,
  decompressBody,
  encodeSegmentHeader,
  nativeRows,
  parseSegment,
  parseSegmentHeader,
  SegmentDamaged,
} from './segment.ts'

const id = { collector: '01234567-89ab-4def-8123-456789abcdef', kind: 'trap', sequence: 7 } as const

async function file() {
  const batch = createBatch(tables.trap, 8, () => {})
  for (let i = 0; i < 5; i++) {
    batch.cells.raw.setText(batch.claim(), `trap ${i}`)
    batch.commit()
  }
  const native = encodeNative(batch)
  const body = await compressBody(native)
  const sealed = {
    rows: 5,
    nativeBytes: native.length,
    firstMs: 1_700_000_000_001,
    lastMs: 1_700_000_000_999,
    body,
  }
  return { native, bytes: Buffer.concat([encodeSegmentHeader(id, sealed), body]) }
}

describe('a segment', () => {
  test('comes back with its identity, its times and its rows', async () => {
    const { native, bytes } = await file()
    const { header, body } = parseSegment(bytes)
    expect(header).toMatchObject({
      ...id,
      rows: 5,
      nativeBytes: native.length,
      firstMs: 1_700_000_000_001,
      lastMs: 1_700_000_000_999,
    })
    expect(await decompressBody(body, native.length)).toEqual(Buffer.from(native))
    expect(nativeRows(native)).toBe(5)
  })

  test('that is torn is known by its header and length alone', async () => {
    const { bytes } = await file()
    for (let length = 0; length < bytes.length; length++) {
      expect(() => parseSegmentHeader(bytes.subarray(0, length), length)).toThrow(SegmentDamaged)
    }
  })

  test('in which any one byte was changed is refused', async () => {
    const { bytes } = await file()
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = Buffer.from(bytes)
        damaged[at]! ^= flip
        expect(() => parseSegment(damaged)).toThrow(SegmentDamaged)
      }),
    )
  })

  test('does not unpack beyond the bound that it is given', async () => {
    const body = await compressBody(new Uint8Array(10_000_000))
    expect(body.length).toBeLessThan(10_000)
    await expect(decompressBody(body, 1_000_000)).rejects.toThrow()
  })
})
