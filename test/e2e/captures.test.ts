/**
 * Captures of real devices through real sockets, a collector and its link into a real engine, and
 * there compared with another program's reading of them. The captures are not part of the
 * repository: where they are absent, the tests are skipped.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Row } from '../../src/telemetry/native.ts'
import { kinds as telemetryKinds } from '../../src/telemetry/table.ts'
import { tables } from '../../src/telemetry/tables.ts'
import {
  type Capture,
  capturesExist,
  expectedRow,
  flowFolder,
  missedByTshark,
  readCaptures,
  reverseRow,
  split,
} from '../captures/flow-captures.ts'
import { readByTshark, readPcap } from '../captures/sflow-captures.ts'
import { hasTshark, type Reading, readWithTshark } from '../captures/tshark.ts'
import { type CollectorProgram, startCollector, until } from './collector.ts'
import { createDevices, type Devices, stream } from './exporters.ts'
import { type ServerEnd, startServerEnd } from './server-end.ts'

vi.setConfig({ testTimeout: 60_000 })

const syslogFile = join(flowFolder, '../syslog/network-devices.tsv')
const why = capturesExist
  ? hasTshark()
    ? ''
    : ' (skipped: tshark is not installed)'
  : ` (skipped: there are no captures in ${flowFolder})`
const noSyslog = existsSync(syslogFile) ? '' : ` (skipped: there is no ${syslogFile})`
const noNetSnmp =
  spawnSync('snmptrap', ['-V']).status === 0 ? '' : ' (skipped: Debian package snmp is missing)'

let server: ServerEnd
let collector: CollectorProgram
let devices: Devices
const began = Date.now()

beforeAll(async () => {
  server = await startServerEnd()
  devices = createDevices()
  collector = await startCollector({
    dir: server.dir,
    name: 'site',
    identity: server.identity,
    servers: [{ name: 'server', url: server.url }],
  })
}, 120_000)

afterAll(async () => {
  await collector?.stop()
  await devices?.close()
  await server?.close()
}, 60_000)

/** Waits until what the listeners were sent is in the engine, all of it. */
async function delivered(sent: Partial<Record<keyof CollectorProgram['ports'], number>>) {
  const look = async () => {
    const { listeners, kinds } = await collector.state()
    const [stored] = await server.query<Record<string, number>>(
      `SELECT ${telemetryKinds.map(kind => `(SELECT count() FROM ${kind}) AS ${kind}`).join(', ')}`,
    )
    return { listeners, kinds, stored: stored! }
  }
  await until('all is in the engine', look, ({ listeners, kinds, stored }) => {
    const received = listeners.every(({ name, datagrams }) => datagrams >= (sent[name] ?? 0))
    return received && kinds.every(({ kind, rows }) => Number(stored[kind]) === rows)
  })
}

/** Rows of the flow table as tests speak of them: plain numbers, IPv4 as IPv4. */
async function flowRows(exporter: string): Promise<Row[]> {
  const columns = tables.flow.columns.map(({ name, type }) => {
    if (type === 'DateTime64(3)') return `toUnixTimestamp64Milli(${name}) AS ${name}`
    if (type === 'DateTime') return `toUnixTimestamp(${name}) AS ${name}`
    return type === 'IPv6' ? `replaceOne(toString(${name}), '::ffff:', '') AS ${name}` : name
  })
  const rows = await server.query<Row>(
    `SELECT ${columns.join(', ')} FROM keepwatch.flow AS f WHERE f.exporter = toIPv6({exporter:String})`,
    { exporter },
  )
  const numeric = tables.flow.columns.filter(({ type }) => type !== 'IPv6')
  return rows.map(row => {
    for (const { name } of numeric) row[name] = Number(row[name])
    return row
  })
}

/** Takes from `rows` what fits each expectation; says the nearest where nothing fits. */
function takeMatching(rows: Row[], expected: Row[]): Row[] {
  const rest = [...rows]
  const agreeing = (row: Row, wanted: Row) =>
    Object.keys(wanted).filter(name => row[name] === wanted[name]).length
  for (const wanted of expected.toSorted((a, b) => Object.keys(b).length - Object.keys(a).length)) {
    const size = Object.keys(wanted).length
    const at = rest.findIndex(row => agreeing(row, wanted) === size)
    if (at < 0) {
      const [nearest] = rest.toSorted((a, b) => agreeing(b, wanted) - agreeing(a, wanted))
      expect(nearest, 'the nearest row of the engine').toMatchObject(wanted)
    }
    rest.splice(at, 1)
  }
  return rest
}

/** Flows are accounted at their end if that is near, else at the time they came. */
function expectAccounted(rows: Row[]) {
  for (const { time, end, received } of rows as Record<string, number>[]) {
    expect(received).toBeGreaterThanOrEqual(began)
    const near = end! >= received! - 25 * 3_600_000 && end! <= received! + 60_000
    expect(time).toBe(Math.floor((near ? end! : received!) / 1000))
  }
}

const loopback = (address: string) => address.replace(/^10\./, '127.')

describe.skipIf(why !== '')(`NetFlow and IPFIX captures in the engine${why}`, () => {
  const captures: Capture[] = why === '' ? readCaptures() : []
  const names = [...new Set(captures.map(({ device }) => device))]
  let readings: Reading[] = []

  beforeAll(async () => {
    const sent = { netflow: 0, ipfix: 0 }
    for (const { device, address, bytes } of captures) {
      const listener = device.startsWith('ipfix') ? 'ipfix' : 'netflow'
      sent[listener]++
      await devices.send(loopback(address), bytes, collector.ports[listener])
    }
    readings = await readWithTshark(captures)
    await delivered(sent)
  }, 120_000)

  test('are of dozens of devices', () => {
    const exporting = captures.filter((_, index) => readings[index]!.flows.length > 0)
    expect(new Set(exporting.map(({ device }) => device)).size).toBeGreaterThan(35)
    expect(readings.flatMap(({ flows }) => flows).length).toBeGreaterThan(400)
  })

  test.each(names)('%s: as tshark reads it', async device => {
    const own = captures.flatMap((capture, index) =>
      capture.device === device ? [{ ...capture, reading: readings[index]! }] : [],
    )
    const expected = own.flatMap(({ reading }) =>
      reading.flows.flatMap(flow => [expectedRow(flow, reading), reverseRow(flow) ?? []].flat()),
    )
    const beyond = [...new Set(own.map(({ file }) => file))].map(
      file => missedByTshark[file]?.rows ?? 0,
    )
    const rows = await flowRows(loopback(own[0]!.address))
    const rest = takeMatching(rows, expected)
    expect(rest).toHaveLength(beyond.reduce((sum, count) => sum + count, 0))
    expectAccounted(rows)
  })

  test('that are malformed are counted at the exporter they come from', async () => {
    const { exporters, problems } = await collector.state()
    const problemsOf = (file: string) => {
      const { address } = captures.find(capture => capture.file === file)!
      return exporters.find(({ exporter }) => exporter === loopback(address))?.problems
    }
    expect(problemsOf('netflow5_test_invalid01.dat')).toMatchObject({ truncated: 1 })
    expect(problemsOf('netflow5_test_invalid02.dat')).toMatchObject({ truncated: 1 })
    expect(problems['listen.decoder-failed']).toBeUndefined()
  })
})

describe.skipIf(why !== '')(`an IPFIX file of 3,979 records in the engine${why}`, () => {
  test('is there record by record as tshark reads it', async () => {
    const file = new Uint8Array(readFileSync(join(flowFolder, 'ipfixcol2/example_flows.ipfix')))
    const messages = split(file).map(bytes => ({ address: '127.2.0.1', bytes }))
    const before = (await collector.state()).listeners.find(({ name }) => name === 'ipfix')!
    for (const { address, bytes } of messages) {
      await devices.send(address, bytes, collector.ports.ipfix)
    }
    const readings = await readWithTshark(messages)
    await delivered({ ipfix: before.datagrams + messages.length })
    const rows = await flowRows('127.2.0.1')
    expect(rows).toHaveLength(3979)
    const expected = readings.flatMap(reading =>
      reading.flows.flatMap(flow => [expectedRow(flow, reading), reverseRow(flow) ?? []].flat()),
    )
    expect(takeMatching(rows, expected)).toEqual([])
    expectAccounted(rows)
  })
})

describe.skipIf(why !== '')(`sFlow captures in the engine${why}`, () => {
  const folder = join(flowFolder, 'tcpdump')
  const payloads = (name: string) => readPcap(join(folder, name)).map(({ payload }) => payload)

  async function replay(name: string, from: string): Promise<Uint8Array[]> {
    const datagrams = payloads(name)
    const before = (await collector.state()).listeners.find(other => other.name === 'sflow')!
    for (const datagram of datagrams) await devices.send(from, datagram, collector.ports.sflow)
    await delivered({ sflow: before.datagrams + datagrams.length })
    return datagrams
  }

  test.each([
    ['sflow_expanded.pcap', '127.5.0.1'],
    ['sflow-print-v6.pcap', '127.5.0.2'],
  ])('%s: as tshark reads it, under the address of the agent', async (name, from) => {
    await replay(name, from)
    const expected = readByTshark(join(folder, name))
    expect(expected.length).toBeGreaterThan(0)
    const agents = new Set(expected.map(({ exporter }) => String(exporter)))
    const rows = (await Promise.all([...agents].map(flowRows))).flat()
    expect(takeMatching(rows, expected)).toEqual([])
    expect(await flowRows(from)).toEqual([])
    expectAccounted(rows)
  })

  test('counters give no row, and NetFlow sent to the sFlow port is NetFlow', async () => {
    const datagrams = await replay('sflow_multiple_counter_30_pdus.pcap', '127.5.0.3')
    const isNetflow = (bytes: Uint8Array) => bytes[0] === 0 && bytes[1] === 5
    const netflow = datagrams.filter(isNetflow)
    expect(netflow).toHaveLength(5)
    const readings = await readWithTshark(netflow.map(bytes => ({ address: '127.5.0.3', bytes })))
    const expected = readings.flatMap(reading =>
      reading.flows.map(flow => expectedRow(flow, reading)),
    )
    const rows = await flowRows('127.5.0.3')
    expect(takeMatching(rows, expected)).toEqual([])
    expect(rows.every(({ version }) => version === 5)).toBe(true)
  })

  test('a datagram that is cut off is counted', async () => {
    await replay('sflow_print-segv.pcap', '127.5.0.4')
    expect((await collector.state()).problems['flow.sflow-truncated']).toBe(1)
  })
})

async function rawOf(kind: 'syslog' | 'trap', sender: string): Promise<string[]> {
  const rows = await server.query<{ raw: string }>(
    `SELECT hex(raw) AS raw FROM ${kind} WHERE sender = toIPv6({sender:String})`,
    { sender },
  )
  return rows.map(({ raw }) => raw).sort()
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex').toUpperCase()

describe('syslog in the engine', () => {
  const everyByte = Uint8Array.from({ length: 256 }, (_, byte) => byte)
  const captured =
    noSyslog === ''
      ? readFileSync(syslogFile, 'utf8')
          .split('\n')
          .filter(line => line !== '')
          .map(line => Buffer.from(line.slice(line.indexOf('\t') + 1)))
      : []

  test.skipIf(noSyslog !== '')(
    `every captured message is there byte by byte, over UDP, by lines and by octet counts${noSyslog}`,
    async () => {
      for (const message of captured) {
        await devices.send('127.3.0.1', message, collector.ports.syslog_udp)
      }
      const lines = captured.flatMap(message => [message, Buffer.from('\n')])
      await stream('127.3.0.2', Buffer.concat(lines), collector.ports.syslog_tcp)
      const counted = captured.flatMap(message => [Buffer.from(`${message.length} `), message])
      await stream('127.3.0.3', Buffer.concat(counted), collector.ports.syslog_tcp)
      await delivered({ syslog_udp: captured.length, syslog_tcp: 2 * captured.length })
      const sent = captured.map(hex).sort()
      expect(sent.length).toBeGreaterThan(60)
      for (const sender of ['127.3.0.1', '127.3.0.2', '127.3.0.3']) {
        expect(await rawOf('syslog', sender), `from ${sender}`).toEqual(sent)
      }
      const parsed = await server.query<{ transport: string; count: string }>(
        `SELECT transport, count() AS count FROM syslog
         WHERE sender IN (toIPv6('127.3.0.1'), toIPv6('127.3.0.2'), toIPv6('127.3.0.3'))
           AND facility < 24 AND host != '' AND message != ''
         GROUP BY transport ORDER BY transport`,
      )
      expect(parsed.map(({ transport, count }) => [transport, Number(count)])).toEqual([
        ['tcp', 2 * captured.length],
        ['udp', captured.length],
      ])
    },
  )

  test('bytes that are no text are kept as they came', async () => {
    const messages = [
      Buffer.concat([Buffer.from('<13>'), everyByte]),
      Buffer.from('<13>caf\xe9 \xff\xfe', 'latin1'),
      Buffer.from([0]),
    ]
    for (const message of messages) {
      await devices.send('127.3.0.4', message, collector.ports.syslog_udp)
    }
    const look = () => rawOf('syslog', '127.3.0.4')
    const stored = await until('they are stored', look, raw => raw.length >= messages.length)
    expect(stored).toEqual(messages.map(hex).sort())
  })
})

/** Stands between net-snmp and the collector, from an address of its own, and keeps what it passes on. */
async function createRelay(address: string, port: number) {
  const front = createSocket('udp4')
  const back = createSocket('udp4')
  const passed: Buffer[] = []
  let asker: RemoteInfo | undefined
  front.on('message', (message, from) => {
    asker = from
    passed.push(message)
    back.send(message, port, '127.0.0.1')
  })
  back.on('message', answer => asker && front.send(answer, asker.port, asker.address))
  await Promise.all([
    new Promise<void>(resolve => front.bind(0, '127.0.0.1', resolve)),
    new Promise<void>(resolve => back.bind(0, address, resolve)),
  ])
  return {
    passed,
    port: front.address().port,
    close: () => {
      front.close()
      back.close()
    },
  }
}

describe.skipIf(noNetSnmp !== '')(`notifications of net-snmp in the engine${noNetSnmp}`, () => {
  const ifIndex = ['1.3.6.1.2.1.2.2.1.1.7', 'i', '7']
  // biome-ignore format: one variable a line
  const everyType = [
    ...ifIndex,
    '1.3.6.1.2.1.2.2.1.2.7', 's', 'GigabitEthernet0/0/7 "uplink" ä',
    '1.3.6.1.2.1.2.2.1.6.7', 'x', '00 1B 2C 3D 4E FF',
    '1.3.6.1.2.1.2.2.1.10.7', 'c', '4294967295',
    '1.3.6.1.2.1.31.1.1.1.6.7', 'C', '18446744073709551615',
    '1.3.6.1.2.1.2.2.1.9.7', 't', '4294967295',
    '1.3.6.1.2.1.4.20.1.1.7', 'a', '192.0.2.7',
    '1.3.6.1.2.1.2.2.1.22.7', 'o', '1.3.6.1.4.1.4294967295.1',
    '1.3.6.1.2.1.2.2.1.5.7', 'u', '4294967295',
  ]
  const notifications = [
    ['snmptrap', '-v1', '1.3.6.1.4.1.9.9.41.2', '192.0.2.7', '6', '1', '4711', ...everyType],
    ['snmptrap', '-v1', '1.3.6.1.4.1.9.1.1', '0.0.0.0', '2', '0', '4711', ...ifIndex],
    ['snmptrap', '-v2c', '4711', '1.3.6.1.6.3.1.1.5.4', ...everyType],
    ['snmptrap', '-v2c', '4711', '1.3.6.1.6.3.1.1.5.1'],
    ['snmpinform', '-v2c', '4711', '1.3.6.1.6.3.1.1.5.3', ...everyType],
  ]

  test('are there byte by byte but for the community, and informs are answered', async () => {
    const relay = await createRelay('127.4.0.1', collector.ports.traps)
    try {
      for (const [program, version, ...rest] of notifications) {
        const args = [version!, '-m', '', '-c', 'public', '-r', '0', '-t', '10']
        const child = spawn(program!, [...args, `127.0.0.1:${relay.port}`, ...rest], {
          stdio: ['ignore', 'ignore', 'pipe'],
        })
        let said = ''
        child.stderr.on('data', data => {
          said += data
        })
        const [code] = await once(child, 'close')
        expect({ program, code, said }).toMatchObject({ code: 0 })
      }
      await until(
        'all passed',
        async () => relay.passed,
        ({ length }) => length >= 5,
      )
      await delivered({ traps: notifications.length })
    } finally {
      relay.close()
    }
    const masked = relay.passed.map(message =>
      hex(message).replace(hex(Buffer.from('public')), hex(Buffer.from('******'))),
    )
    expect(await rawOf('trap', '127.4.0.1')).toEqual(masked.sort())

    const rows = await server.query<Record<string, unknown>>(
      `SELECT version, inform, oid, name, uptime, replaceOne(toString(agent), '::ffff:', '') AS agent,
         varbinds
       FROM trap WHERE sender = toIPv6('127.4.0.1') ORDER BY version, inform, oid`,
    )
    expect(rows).toMatchObject([
      { version: 1, inform: 0, oid: '1.3.6.1.4.1.9.9.41.2.0.1', agent: '192.0.2.7' },
      { version: 1, inform: 0, name: 'linkDown', agent: '127.4.0.1' },
      { version: 2, inform: 0, name: 'coldStart', agent: '127.4.0.1' },
      { version: 2, inform: 0, name: 'linkUp', agent: '127.4.0.1' },
      { version: 2, inform: 1, name: 'linkDown', agent: '127.4.0.1' },
    ])
    const { varbinds } = rows[3]!
    expect(JSON.parse(String(varbinds))).toMatchObject([
      { oid: '1.3.6.1.2.1.1.3.0', value: 4711 },
      { oid: '1.3.6.1.6.3.1.1.4.1.0', value: '1.3.6.1.6.3.1.1.5.4' },
      { type: 'INTEGER', value: 7 },
      { type: 'OCTET STRING', value: 'GigabitEthernet0/0/7 "uplink" ä' },
      { type: 'OCTET STRING', value: '0x001b2c3d4eff' },
      { type: 'Counter32', value: 4_294_967_295 },
      { type: 'Counter64', value: '18446744073709551615' },
      { type: 'TimeTicks', value: 4_294_967_295 },
      { type: 'IpAddress', value: '192.0.2.7' },
      { type: 'OBJECT IDENTIFIER', value: '1.3.6.1.4.1.4294967295.1' },
      { type: 'Gauge32', value: 4_294_967_295 },
    ])
  })
})
