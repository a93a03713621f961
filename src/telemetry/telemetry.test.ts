import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatAddress, parseAddress } from './address.ts'
import { createBatch } from './batch.ts'
import { createTableSql } from './ddl.ts'
import { decodeNative, encodeNative } from './native.ts'
import { tables } from './tables.ts'

const noSeal = () => {
  throw new Error('not expected to be full')
}

describe('a batch', () => {
  test('comes back from Native as it was written', () => {
    const batch = createBatch(tables.syslog, 4, noSeal)
    const { cells } = batch
    const first = batch.claim()
    cells.time.set(first, 1_700_000_000_123)
    cells.sender.setV4(first, Uint8Array.of(192, 0, 2, 7), 0)
    cells.severity.values[first] = 5
    cells.raw.setText(first, 'grüße')
    batch.commit()
    const second = batch.claim()
    cells.message.setBytes(second, Buffer.from('xabcx'), 1, 4)
    batch.commit()
    const block = decodeNative(encodeNative(batch), tables.syslog)
    expect(block.rows).toBe(2)
    expect(block.toRows()).toMatchObject([
      { time: 1_700_000_000_123, sender: '192.0.2.7', severity: 5, raw: 'grüße', message: '' },
      { time: 0, sender: '::', severity: 0, raw: '', message: 'abc' },
    ])
  })

  test('wipes a row that was claimed and never committed', () => {
    const batch = createBatch(tables.flow, 4, noSeal)
    const row = batch.claim()
    batch.cells.bytes.set(row, 2 ** 40 + 5)
    batch.cells.src_port.values[row] = 53
    batch.claim()
    batch.commit()
    expect(decodeNative(encodeNative(batch), tables.flow).toRows()).toMatchObject([
      { bytes: 0, src_port: 0 },
    ])
  })

  test('asks to be emptied when the rows or the bytes are full', () => {
    let sealed = 0
    const seal = (batch: { clear(): void }) => {
      sealed++
      batch.clear()
    }
    const narrow = createBatch(tables.flow, 2, seal)
    for (let i = 0; i < 5; i++) {
      narrow.claim()
      narrow.commit()
    }
    expect([sealed, narrow.rows]).toEqual([2, 1])
    const heavy = createBatch(tables.syslog, 1000, seal, 100)
    for (let i = 0; i < 3; i++) {
      heavy.cells.raw.setText(heavy.claim(), 'x'.repeat(101))
      heavy.commit()
    }
    expect([sealed, heavy.rows]).toEqual([4, 1])
  })

  test('holds any strings in any rows', () => {
    const texts = fc.array(fc.option(fc.string({ unit: 'binary' }), { nil: undefined }), {
      maxLength: 50,
    })
    fc.assert(
      fc.property(texts, values => {
        const batch = createBatch(tables.trap, 50, noSeal)
        for (const value of values) {
          const row = batch.claim()
          if (value !== undefined) {
            batch.cells.oid.setText(row, 'taken back')
            batch.cells.oid.setText(row, value)
          }
          batch.commit()
        }
        const block = decodeNative(encodeNative(batch), tables.trap)
        const read = values.map((_, row) => block.column('oid')!.get(row))
        expect(read).toEqual(values.map(value => (value ?? '').toWellFormed()))
      }),
    )
  })
})

describe('a Native block', () => {
  test('that is cut off or foreign is refused', () => {
    const batch = createBatch(tables.trap, 1, noSeal)
    batch.claim()
    batch.commit()
    const whole = encodeNative(batch)
    for (let length = 0; length < whole.length; length++) {
      expect(() => decodeNative(whole.subarray(0, length), tables.trap)).toThrow(RangeError)
    }
    expect(() => decodeNative(whole, tables.flow)).toThrow('is not one of table flow')
  })
})

describe('an address', () => {
  test('is written in the shortest form', () => {
    for (const text of [
      '192.0.2.1',
      '::',
      '::1',
      '2001:db8::1',
      '2001:db8:0:1:1:1:1:1',
      'fe80::',
    ]) {
      expect(formatAddress(parseAddress(text)!)).toBe(text)
    }
    expect(formatAddress(parseAddress('::FFFF:10.0.0.1')!)).toBe('10.0.0.1')
    expect(formatAddress(parseAddress('fe80::1%eth0')!)).toBe('fe80::1')
  })

  test('that is none is refused', () => {
    for (const text of [
      '',
      '1.2.3',
      '1.2.3.256',
      ':',
      ':::',
      '1::2::3',
      '12345::',
      '1:2:3:4:5:6:7',
      'x',
    ]) {
      expect(parseAddress(text), text).toBeUndefined()
    }
  })

  test('survives the way to text and back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), bytes => {
        expect(parseAddress(formatAddress(bytes))).toEqual(bytes)
      }),
    )
  })
})

test('the DDL has every column of the table', () => {
  for (const table of Object.values(tables)) {
    const sql = createTableSql(table)
    for (const column of table.columns) expect(sql).toContain(`\n  ${column.name} `)
  }
})
