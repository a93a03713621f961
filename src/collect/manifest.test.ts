import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createBatch } from '../telemetry/batch.ts'
import { decodeNative, encodeNative } from '../telemetry/native.ts'
import { tables } from '../telemetry/tables.ts'
import { hashDatagram, hashSource } from './datagram-hash.ts'
import { leaveOut } from './leave-out.ts'
import {
  createManifestBuilder,
  decodeManifest,
  encodeManifest,
  ManifestDamaged,
  rankOf,
  rowsOf,
  termOf,
  withoutDatagrams,
} from './manifest.ts'
import { compressBody, decompressBody, encodeSegment, parseSegment } from './segment.ts'
import { withoutRows } from './select-rows.ts'

const id = {
  collector: '01234567-89ab-4def-8123-456789abcdef',
  kind: 'syslog',
  sequence: 7,
} as const

function messages(texts: readonly string[]): Uint8Array {
  const batch = createBatch(tables.syslog, texts.length + 1, () => {})
  for (const text of texts) {
    batch.cells.raw.setText(batch.claim(), text)
    batch.commit()
  }
  return encodeNative(batch)
}
const textsOf = (native: Uint8Array) =>
  decodeNative(native, tables.syslog)
    .toRows()
    .map(({ raw }) => raw)

describe('a manifest', () => {
  test('names each datagram with the rows that came of it, also over a full batch', () => {
    const builder = createManifestBuilder()
    builder.open(11, 'netflow 10.0.0.1')
    builder.close(30)
    builder.open(12, 'netflow 10.0.0.2')
    const first = builder.seal(45, rankOf(3, true))
    builder.close(15)
    builder.stream(17)
    builder.stream(19)
    const second = builder.seal(19, rankOf(3, true))
    expect(first).toMatchObject({
      continues: false,
      sources: ['netflow 10.0.0.1', 'netflow 10.0.0.2'],
    })
    expect([...first.hashes]).toEqual([11, 12])
    expect(rowsOf(first, [0, 1])).toEqual([
      [0, 30],
      [30, 45],
    ])
    expect(second.continues).toBe(true)
    expect([...second.hashes]).toEqual([12, 0])
    expect(rowsOf(second, [1])).toEqual([[15, 19]])
    expect(termOf(second.rank)).toBe(3)
  })

  test('comes back from its bytes, and not if one of them was changed', () => {
    const builder = createManifestBuilder()
    for (let i = 1; i <= 40; i++) {
      builder.open(hashDatagram(1, Buffer.from(`datagram ${i}`)), `syslog_udp 10.0.0.${i % 3}`)
      builder.close(i)
    }
    const manifest = builder.seal(40, rankOf(9, true))
    const bytes = encodeManifest(manifest)
    expect(decodeManifest(bytes)).toEqual(manifest)
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = Buffer.from(bytes)
        damaged[at]! ^= flip
        expect(() => decodeManifest(damaged)).toThrow(ManifestDamaged)
      }),
    )
  })

  test('lies behind the body of its segment, and leaves out what is another’s', async () => {
    const native = messages(['one', 'two', 'three', 'four'])
    const builder = createManifestBuilder()
    for (const [index, hash] of [21, 22, 23].entries()) {
      builder.open(hash, 'syslog_udp 10.0.0.1')
      builder.close(index === 2 ? 4 : index + 1)
    }
    const manifest = builder.seal(4, rankOf(1, true))
    const sealed = {
      rows: 4,
      nativeBytes: native.length,
      firstMs: 1,
      lastMs: 2,
      body: await compressBody(native),
      manifest,
    }
    const whole = parseSegment(Buffer.concat(encodeSegment(id, sealed)))
    expect(whole.manifest).toEqual(manifest)
    const rest = (await leaveOut(whole, [1]))!
    expect(textsOf(await decompressBody(rest.body, rest.nativeBytes))).toEqual([
      'one',
      'three',
      'four',
    ])
    expect(rest.manifest).toEqual(withoutDatagrams(manifest, [1]))
    expect([...rest.manifest!.ends]).toEqual([1, 3])
    expect(await leaveOut(whole, [0, 1, 2])).toBeUndefined()
  })
})

test('rows are left out of a block, and the others stay as they were', () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ maxLength: 300 }), { minLength: 1, maxLength: 40 }),
      fc.infiniteStream(fc.boolean()),
      (texts, chance) => {
        const kept = texts.map(() => chance.next().value)
        const gone = kept.flatMap((keep, row): [number, number][] => (keep ? [] : [[row, row + 1]]))
        const rest = withoutRows(messages(texts), tables.syslog, gone)
        expect(rest === undefined ? [] : textsOf(rest.native)).toEqual(
          textsOf(messages(texts)).filter((_, row) => kept[row]),
        )
      },
    ),
  )
})

test('a datagram is known by its bytes, its listener and its sender', () => {
  const bytes = Buffer.alloc(1400, 7)
  const hash = hashDatagram(1, bytes)
  expect(Number.isSafeInteger(hash)).toBe(true)
  expect(hashDatagram(1, Buffer.from(bytes))).toBe(hash)
  for (const length of [500, 1400]) {
    const shared = new Uint8Array(new SharedArrayBuffer(length)).fill(7)
    expect(hashDatagram(1, shared)).toBe(hashDatagram(1, bytes.subarray(0, length)))
  }
  for (const source of ['traps 10.0.0.1', 'syslog_udp 10.0.0.2']) {
    const other = hashSource(source)
    for (const sent of [bytes, Buffer.alloc(500, 7)]) {
      expect(hashDatagram(other, sent)).not.toBe(
        hashDatagram(hashSource('syslog_udp 10.0.0.1'), sent),
      )
    }
  }
  for (const at of [0, 3, 17, 63, 64, 128, 1336, 1399]) {
    const other = Buffer.from(bytes)
    other[at] = 8
    expect(hashDatagram(1, other), `byte ${at}`).not.toBe(hash)
  }
  const message = Buffer.alloc(500, 7)
  const known = hashDatagram(1, message)
  for (const at of message.keys()) {
    const other = Buffer.from(message)
    other[at] = 8
    expect(hashDatagram(1, other), `byte ${at}`).not.toBe(known)
  }
  const all = new Set(
    Array.from({ length: 50_000 }, (_, i) => hashDatagram(1, Buffer.from(`${i}`))),
  )
  expect(all.size).toBe(50_000)
})
