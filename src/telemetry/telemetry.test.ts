import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatAddress, parseAddress } from './address.ts'
import { createBatch } from './batch.ts'
import { createTableSql, insertSql } from './ddl.ts'
import { decodeNative, encodeNative } from './native.ts'
import { readRuns } from './runs.ts'
import { tables } from './tables.ts'
import { widened } from './widen.ts'

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
  test('has a column only if it says something, as narrow as its largest cell allows', () => {
    const batch = createBatch(tables.flow, 4, noSeal)
    const { cells } = batch
    for (let i = 0; i < 2; i++) {
      const row = batch.claim()
      cells.time.values[row] = 1_700_000_000
      cells.received.set(row, 1_700_000_000_123)
      cells.end.set(row, 1_700_000_000_123 - 2 ** 33)
      cells.start.set(row, 1_700_000_000_123 - 2 ** 33 - 256 * i)
      cells.src_addr.setV4(row, Uint8Array.of(192, 0, 2, 7), 0)
      cells.dst_addr.setV6(row, parseAddress(i === 0 ? '192.0.2.8' : '2001:db8::1')!, 0)
      cells.src_port.values[row] = 255
      cells.dst_port.values[row] = 256
      cells.in_if.values[row] = i === 0 ? 1 : 65_535
      cells.out_if.values[row] = 65_536
      cells.bytes.set(row, 2 ** 32 - 1 + i)
      cells.packets.set(row, 2 ** 32 - 1)
      cells.src_mac.set(row, 200)
      batch.commit()
    }
    const native = encodeNative(batch)
    const { runs } = readRuns(native, tables.flow)
    expect(Object.fromEntries(runs.map(({ column, form }) => [column.name, form]))).toEqual({
      received: 'DateTime64(3)',
      time: 'Int32',
      end: 'DateTime64(3)',
      start: 'UInt16',
      src_addr: 'IPv4',
      dst_addr: 'IPv6',
      src_port: 'UInt8',
      dst_port: 'UInt16',
      in_if: 'UInt16',
      out_if: 'UInt32',
      bytes: 'UInt64',
      packets: 'UInt32',
      src_mac: 'UInt8',
    })
    expect(decodeNative(native, tables.flow).toRows()).toMatchObject([
      { src_addr: '192.0.2.7', dst_addr: '192.0.2.8', bytes: 2 ** 32 - 1, next_hop: '::', tos: 0 },
      { dst_addr: '2001:db8::1', bytes: 2 ** 32, packets: 2 ** 32 - 1, in_if: 65_535 },
    ])
  })

  test('says the same with every column in its own type, for programs that know no other', () => {
    const batch = createBatch(tables.flow, 4, noSeal)
    const { cells } = batch
    for (let i = 0; i < 2; i++) {
      const row = batch.claim()
      cells.time.values[row] = 1_700_000_000
      cells.src_addr.setV4(row, Uint8Array.of(192, 0, 2, 7 + i), 0)
      cells.in_if.values[row] = 200 + 1000 * i
      cells.packets.set(row, 255)
      batch.commit()
    }
    const wide = widened(encodeNative(batch), tables.flow)
    const { runs } = readRuns(wide, tables.flow)
    expect(runs.map(({ column, form }) => `${column.name} ${form}`)).toEqual(
      tables.flow.columns.map(({ name, type }) => `${name} ${type}`),
    )
    expect(decodeNative(wide, tables.flow).toRows()).toEqual(
      decodeNative(encodeNative(batch), tables.flow).toRows(),
    )
    const texts = createBatch(tables.syslog, 4, noSeal)
    texts.cells.raw.setText(texts.claim(), 'grüße')
    texts.commit()
    const block = widened(encodeNative(texts), tables.syslog)
    expect(decodeNative(block, tables.syslog).toRows()).toMatchObject([{ raw: 'grüße', host: '' }])
    expect(widened(block, tables.syslog)).toEqual(block)
  })

  test('says the same in whatever forms its columns travel', () => {
    const cell = fc.oneof(fc.nat(3), fc.nat(300), fc.nat(70_000), fc.nat(2 ** 31), fc.maxSafeNat())
    const address = fc.oneof(
      fc.constant('::'),
      fc.ipV4(),
      fc.ipV6().filter(text => parseAddress(text) !== undefined),
    )
    const rows = fc.array(fc.record({ number: cell, address }), { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(rows, values => {
        const batch = createBatch(tables.flow, 8, noSeal)
        const { cells } = batch
        for (const { number, address } of values) {
          const row = batch.claim()
          cells.bytes.set(row, number)
          cells.in_if.values[row] = number
          cells.src_port.values[row] = number
          cells.src_addr.setV6(row, parseAddress(address)!, 0)
          batch.commit()
        }
        const read = decodeNative(encodeNative(batch), tables.flow)
        for (const [row, { number, address }] of values.entries()) {
          expect(read.column('bytes')!.get(row)).toBe(number)
          expect(read.column('in_if')!.get(row)).toBe(number % 2 ** 32)
          expect(read.column('src_port')!.get(row)).toBe(number % 2 ** 16)
          expect(read.column('src_addr')!.get(row)).toBe(formatAddress(parseAddress(address)!))
        }
      }),
    )
  })

  test('has times as how much they are before others, if that is short', () => {
    const time = fc.oneof(
      fc.constant(0),
      fc.integer({ min: -2, max: 2 }),
      fc.integer({ min: -70_000, max: 70_000 }),
      fc.integer({ min: -(2 ** 34), max: 2 ** 34 }),
    )
    const rows = fc.array(fc.record({ end: time, start: time, account: time }), {
      minLength: 1,
      maxLength: 8,
    })
    fc.assert(
      fc.property(rows, values => {
        const batch = createBatch(tables.flow, 8, noSeal)
        const { cells } = batch
        const expected = values.map(({ end, start, account }) => {
          const received = 2 ** 41 + end
          const times = {
            ...{ received, end: received - end, start: received - end - start },
            time: Math.floor((received - end) / 1000) - Math.trunc(account / 1000),
          }
          const row = batch.claim()
          cells.time.values[row] = times.time
          for (const name of ['received', 'end', 'start'] as const)
            cells[name].set(row, times[name])
          batch.commit()
          return times
        })
        const native = encodeNative(batch)
        expect(decodeNative(native, tables.flow).toRows()).toMatchObject(expected)
        const wide = widened(native, tables.flow)
        expect(decodeNative(wide, tables.flow).toRows()).toMatchObject(expected)
      }),
    )
  })

  test('that is cut off or foreign is refused', () => {
    const batch = createBatch(tables.trap, 1, noSeal)
    batch.claim()
    batch.commit()
    const whole = encodeNative(batch)
    for (let length = 0; length < whole.length; length++) {
      expect(() => decodeNative(whole.subarray(0, length), tables.trap)).toThrow(RangeError)
    }
    expect(() => decodeNative(whole, tables.syslog)).toThrow('it has no column time')
    batch.cells.oid.setText(0, '1.3.6.1')
    expect(() => decodeNative(encodeNative(batch), tables.flow)).toThrow('not one of table flow')
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

test('an insert has the engine put together what did not travel', () => {
  const batch = createBatch(tables.flow, 1, noSeal)
  const { cells } = batch
  const row = batch.claim()
  cells.time.values[row] = 1_700_000_000
  cells.received.set(row, 1_700_000_000_123)
  cells.end.set(row, 1_700_000_000_023)
  cells.start.set(row, 1_700_000_000_023)
  cells.src_port.values[row] = 53
  batch.commit()
  const { runs } = readRuns(encodeNative(batch), tables.flow)
  expect(insertSql(tables.flow, runs).split('\n')).toEqual([
    'INSERT INTO flow (time, received, start, end, src_port)',
    [
      'SELECT toDateTime(intDiv((toUnixTimestamp64Milli(received) - end), 1000))',
      'received',
      'fromUnixTimestamp64Milli((toUnixTimestamp64Milli(received) - end))',
      'fromUnixTimestamp64Milli(toUnixTimestamp64Milli(received) - end)',
      'src_port',
    ].join(', '),
    "FROM input('received DateTime64(3), end UInt8, src_port UInt8') FORMAT Native",
  ])
})
