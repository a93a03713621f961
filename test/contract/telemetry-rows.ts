/** Telemetry that suites store: blocks as a collector seals them. */
import { parseAddress } from '../../src/telemetry/address.ts'
import { createBatch } from '../../src/telemetry/batch.ts'
import { encodeNative } from '../../src/telemetry/native.ts'
import type { ColumnType, Table } from '../../src/telemetry/table.ts'
import { tables } from '../../src/telemetry/tables.ts'

/** Traps numbered `from` … `from + rows − 1` in the column `request`, received now. */
export function numberedTraps(from: number, rows: number): Uint8Array {
  const batch = createBatch(tables.trap, rows, () => {})
  const now = Date.now()
  for (let i = 0; i < rows; i++) {
    const row = batch.claim()
    batch.cells.received.set(row, now)
    batch.cells.request.values[row] = from + i
    batch.cells.oid.setText(row, '1.3.6.1.6.3.1.1.5.3')
    batch.commit()
  }
  return encodeNative(batch)
}

/** One flow with everything that an exporter has names of, and one without. */
export function flowsOfThings(exporter: string, application: number): Uint8Array {
  const batch = createBatch(tables.flow, 2, () => {})
  const { cells } = batch
  const now = Date.now()
  for (const named of [true, false]) {
    const row = batch.claim()
    cells.time.values[row] = now / 1000
    for (const column of ['received', 'start', 'end'] as const) cells[column].set(row, now)
    cells.exporter.setV6(row, parseAddress(exporter)!, 0)
    cells.traffic.values[row] = 1
    cells.sampling.values[row] = 1
    cells.bytes.set(row, 100)
    cells.protocol.values[row] = 6
    cells.src_port.values[row] = 443
    cells.dst_port.values[row] = 50_000
    cells.in_if.values[row] = named ? 7 : 8
    cells.application.values[row] = named ? application : 0
    cells.vrf.values[row] = named ? 5 : 0
    batch.commit()
  }
  return encodeNative(batch)
}

export function saidName(
  exporter: string,
  time: number,
  what: number,
  id: number,
  name: string,
  description: string,
): Uint8Array {
  const batch = createBatch(tables.name, 1, () => {})
  const { cells } = batch
  const row = batch.claim()
  cells.time.values[row] = Date.now() / 1000 + time
  cells.exporter.setV6(row, parseAddress(exporter)!, 0)
  cells.what.values[row] = what
  cells.id.values[row] = id
  cells.name.setText(row, name)
  cells.description.setText(row, description)
  batch.commit()
  return encodeNative(batch)
}

/** From three networks in turn, to a web server and to a name server. */
export function namedFlows(count: number): Uint8Array {
  const batch = createBatch(tables.flow, count, () => {})
  const sources = ['192.0.2.1', '2001:db8::7', '192.9.9.9'].map(text => parseAddress(text)!)
  for (let i = 0; i < count; i++) {
    const row = batch.claim()
    const { cells } = batch
    cells.time.values[row] = Math.floor(Date.now() / 1000) - 60
    cells.exporter.setV6(row, parseAddress('192.0.2.9')!, 0)
    cells.in_if.values[row] = 7 + (i % 2)
    cells.src_addr.setV6(row, sources[i % 3]!, 0)
    cells.protocol.values[row] = i < count / 2 ? 6 : 17
    cells.src_port.values[row] = 50_000
    cells.dst_port.values[row] = i < count / 2 ? 443 : 53
    cells.sampling.values[row] = 1
    cells.traffic.values[row] = 1
    batch.commit()
  }
  return encodeNative(batch)
}

/** Of a few interfaces and services in the two hours before, some of them events. */
export function someFlows(count: number, before: number): Uint8Array {
  const batch = createBatch(tables.flow, count, () => {})
  for (let i = 0; i < count; i++) {
    const row = batch.claim()
    const { cells } = batch
    cells.time.values[row] = before - ((i * 7919) % 7200)
    cells.exporter.setV6(row, addresses[i % 2]!, 0)
    cells.in_if.values[row] = i % 3
    cells.out_if.values[row] = i % 5
    cells.protocol.values[row] = i % 2 === 0 ? 6 : 17
    cells.src_port.values[row] = 40_000 + i
    cells.dst_port.values[row] = i % 7 === 0 ? 443 : 53
    cells.src_as.values[row] = i % 4
    cells.sampling.values[row] = i % 6 === 0 ? 1000 : 1
    cells.traffic.values[row] = i % 10 === 0 ? 0 : 1
    cells.bytes.set(row, 1000 + i)
    cells.packets.set(row, 1 + (i % 9))
    batch.commit()
  }
  return encodeNative(batch)
}

/**
 * Rows with something else in every cell, of the last hour.
 * @param limit numbers are below it; below 2^32 all addresses are IPv4
 */
export function variedRows(table: Table, count: number, limit = 2 ** 53): Uint8Array {
  const batch = createBatch(table, count, () => {})
  const now = Math.floor(Date.now() / 1000) - 3600
  // Without the literal type the cells are of no known type; each is written by its column's type.
  const cells = batch.cells as unknown as Record<string, never>
  for (let i = 0; i < count; i++) {
    const row = batch.claim()
    for (const [index, column] of table.columns.entries()) {
      write(cells[column.name]!, column.type, row, i * 31 + index, now + (i % 3600), limit)
    }
    batch.commit()
  }
  return encodeNative(batch)
}

export const addressTexts = ['192.0.2.1', '2001:db8::1', '::', '203.0.113.255']
const addresses = addressTexts.map(text => parseAddress(text)!)

function write(
  cells: never,
  type: ColumnType,
  row: number,
  seed: number,
  now: number,
  limit: number,
) {
  const numbers = cells as { values: Uint32Array }
  const wide = cells as { set(row: number, value: number): void }
  const address = cells as { setV6(row: number, from: Uint8Array, offset: number): void }
  const text = cells as { setText(row: number, text: string): void }
  switch (type) {
    case 'DateTime':
      numbers.values[row] = now
      return
    case 'DateTime64(3)':
      wide.set(row, now * 1000 + (seed % 1000))
      return
    case 'UInt8':
    case 'UInt16':
    case 'UInt32':
      numbers.values[row] = (seed * 2_654_435) % limit
      return
    case 'UInt64':
      wide.set(row, (seed * 87_654_321_987) % limit)
      return
    case 'IPv6':
      address.setV6(row, addresses[limit < 2 ** 32 ? 0 : seed % addresses.length]!, 0)
      return
    case 'String':
      text.setText(row, ['', 'plain', `tab\tquote'back\\slash`, 'Zürich ⚡ 東京'][seed % 4]!)
  }
}
