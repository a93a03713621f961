import { createSocket } from 'node:dgram'
import { createRequire } from 'node:module'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { parseAddress } from '../telemetry/address.ts'
import { createBatch } from '../telemetry/batch.ts'
import { decodeNative, encodeNative } from '../telemetry/native.ts'
import { trapTable } from '../telemetry/trap.ts'
import { createTrapDecoder, type TrapProblem } from './snmp.ts'
import { notificationName } from './snmp-names.ts'

// net-snmp brings no types.
const snmp = createRequire(import.meta.url)('net-snmp')

const received = 1_700_000_000_000
const sender = parseAddress('192.0.2.7')!

function decode(bytes: Uint8Array) {
  const problems: TrapProblem[] = []
  const batch = createBatch(trapTable, 1, () => {})
  const decoder = createTrapDecoder({ batch, onProblem: problem => problems.push(problem) })
  const reply = decoder.decode(bytes, sender, received)
  const row = decodeNative(encodeNative(batch), trapTable).toRows()[0]
  const varbinds = row === undefined ? [] : JSON.parse(row.varbinds as string)
  return { row, varbinds, problems, reply }
}

const length = (n: number) =>
  n < 128 ? Buffer.of(n) : n < 256 ? Buffer.of(0x81, n) : Buffer.of(0x82, n >> 8, n & 255)
const tlv = (tag: number, ...contents: (Uint8Array | string)[]) => {
  const body = Buffer.concat(
    contents.map(part => (typeof part === 'string' ? Buffer.from(part, 'hex') : part)),
  )
  return Buffer.concat([Buffer.of(tag), length(body.length), body])
}
const text = (value: string) => tlv(4, Buffer.from(value))
const sequence = (...parts: Uint8Array[]) => tlv(0x30, ...parts)
const int = (hex: string) => tlv(2, hex)
const oid = {
  sysUpTime: '2b06010201010300',
  trapOid: '2b060106030101040100',
  linkDown: '2b060106030101 0503'.replaceAll(' ', ''),
  trapAddress: '2b0601060312010300',
  trapCommunity: '2b0601060312010400',
  ifDescr2: '2b060102010202010202',
  cisco: '2b06010401090102'.slice(0, 14),
  bgpTraps: '2b060102010f07',
}
const bind = (name: string, value: Uint8Array) => sequence(tlv(6, name), value)
const message = (version: string, pdu: Uint8Array, community = 'public') =>
  sequence(int(version), text(community), pdu)
const v2 = (tag: number, ...binds: Uint8Array[]) =>
  message('01', tlv(tag, int('12345678'), int('00'), int('00'), sequence(...binds)))
const upTime = bind(oid.sysUpTime, tlv(0x43, '0a00'))
const linkDown = bind(oid.trapOid, tlv(6, oid.linkDown))
const v1 = (enterprise: string, generic: string, specific: string, ...binds: Uint8Array[]) =>
  message(
    '00',
    tlv(
      0xa4,
      tlv(6, enterprise),
      tlv(0x40, 'c0000263'),
      int(generic),
      int(specific),
      tlv(0x43, '0a00'),
      sequence(...binds),
    ),
  )

describe('a trap of version 2c', () => {
  test('gives its name, uptime and variables in order', () => {
    const { row, varbinds, problems, reply } = decode(
      v2(0xa7, upTime, linkDown, bind(oid.ifDescr2, text('Gi0/2'))),
    )
    expect(problems).toEqual([])
    expect(reply).toBeUndefined()
    expect(row).toMatchObject({
      received,
      sender: '192.0.2.7',
      agent: '192.0.2.7',
      version: 2,
      inform: 0,
      request: 0x12345678,
      uptime: 2560,
      oid: '1.3.6.1.6.3.1.1.5.3',
      name: 'linkDown',
    })
    expect(varbinds).toEqual([
      { oid: '1.3.6.1.2.1.1.3.0', type: 'TimeTicks', value: 2560 },
      { oid: '1.3.6.1.6.3.1.1.4.1.0', type: 'OBJECT IDENTIFIER', value: '1.3.6.1.6.3.1.1.5.3' },
      { oid: '1.3.6.1.2.1.2.2.1.2.2', type: 'OCTET STRING', value: 'Gi0/2' },
    ])
  })

  test('shows values of every type, text as text and the rest in hex', () => {
    const value = (element: Uint8Array) =>
      decode(v2(0xa7, linkDown, bind(oid.ifDescr2, element))).varbinds[1]
    const cases: [Uint8Array, string, unknown][] = [
      [int('ff'), 'INTEGER', -1],
      [int('7fffffff'), 'INTEGER', 2 ** 31 - 1],
      [tlv(0x41, '00ffffffff'), 'Counter32', 2 ** 32 - 1],
      [tlv(0x42, 'ffffffff'), 'Gauge32', 2 ** 32 - 1],
      [tlv(0x46, '00ffffffffffffffff'), 'Counter64', '18446744073709551615'],
      [tlv(0x46, 'ffffffffffffffff'), 'Counter64', '18446744073709551615'],
      [tlv(0x40, 'c0000201'), 'IpAddress', '192.0.2.1'],
      [tlv(0x44, '9f7804'), 'Opaque', '0x9f7804'],
      [tlv(5), 'NULL', null],
      [tlv(0x81), 'noSuchInstance', null],
      [tlv(6, '883703'), 'OBJECT IDENTIFIER', '2.999.3'],
      [tlv(6, '00'), 'OBJECT IDENTIFIER', '0.0'],
      [text('grüße\n'), 'OCTET STRING', 'grüße\n'],
      [text('in C\0'), 'OCTET STRING', 'in C'],
      [text(''), 'OCTET STRING', ''],
      [tlv(4, '00'), 'OCTET STRING', '0x00'],
      [tlv(4, '07e8030a0b3b3a002b0000'), 'OCTET STRING', '0x07e8030a0b3b3a002b0000'],
      [tlv(4, 'c3'), 'OCTET STRING', '0xc3'],
      [text('x'.repeat(2000)), 'OCTET STRING', `${'x'.repeat(1024)}…`],
      [tlv(0x0a, '01'), 'tag 10', '0x01'],
    ]
    for (const [element, type, shown] of cases) {
      expect(value(element), Buffer.from(element).toString('hex').slice(0, 40)).toEqual({
        oid: '1.3.6.1.2.1.2.2.1.2.2',
        type,
        value: shown,
      })
    }
  })

  test('relayed from version 1 tells the agent and hides the community, in raw too', () => {
    const bytes = v2(
      0xa7,
      upTime,
      linkDown,
      bind(oid.trapAddress, tlv(0x40, 'c0000263')),
      bind(oid.trapCommunity, text('s3cret')),
    )
    const { row, varbinds } = decode(bytes)
    expect(row!.agent).toBe('192.0.2.99')
    expect(varbinds[3].value).toBe('******')
    expect(row!.raw).not.toContain('s3cret')
    expect(row!.raw).not.toContain('public')
    expect(row!.raw).toContain('******')
  })

  test('without a name is stored, and counted', () => {
    expect(decode(v2(0xa7, upTime))).toMatchObject({
      row: { oid: '', name: '', uptime: 2560 },
      problems: ['no-trap-oid'],
    })
  })

  test('with more than 256 variables keeps the first', () => {
    const many = Array.from({ length: 300 }, () => bind('2b', tlv(5)))
    const { varbinds, problems } = decode(v2(0xa7, linkDown, ...many))
    expect(varbinds).toHaveLength(256)
    expect(problems).toEqual(['too-many-varbinds'])
  })
})

describe('an inform', () => {
  test('is answered with itself as a response without error', () => {
    const bytes = v2(0xa6, upTime, linkDown)
    const { row, reply } = decode(Buffer.concat([bytes, Buffer.of(0)]))
    expect(row).toMatchObject({ inform: 1, name: 'linkDown' })
    const expected = Buffer.from(bytes)
    expected[expected.indexOf(0xa6)] = 0xa2
    expect(Buffer.from(reply!.bytes)).toEqual(expected)
  })

  test('that is not stored is not answered', () => {
    expect(decode(message('01', tlv(0xa6, int('01'))))).toMatchObject({
      row: undefined,
      reply: undefined,
      problems: ['malformed'],
    })
  })
})

describe('a trap of version 1', () => {
  test('is told in the form of version 2', () => {
    const { row, varbinds, problems } = decode(
      v1(oid.cisco, '02', '00', bind(oid.ifDescr2, int('02'))),
    )
    expect(problems).toEqual([])
    expect(row).toMatchObject({
      version: 1,
      request: 0,
      agent: '192.0.2.99',
      uptime: 2560,
      oid: '1.3.6.1.6.3.1.1.5.3',
      name: 'linkDown',
    })
    expect(varbinds).toEqual([
      { oid: '1.3.6.1.2.1.1.3.0', type: 'TimeTicks', value: 2560 },
      { oid: '1.3.6.1.6.3.1.1.4.1.0', type: 'OBJECT IDENTIFIER', value: '1.3.6.1.6.3.1.1.5.3' },
      { oid: '1.3.6.1.2.1.2.2.1.2.2', type: 'INTEGER', value: 2 },
      { oid: '1.3.6.1.6.3.18.1.3.0', type: 'IpAddress', value: '192.0.2.99' },
      { oid: '1.3.6.1.6.3.1.1.4.3.0', type: 'OBJECT IDENTIFIER', value: '1.3.6.1.4.1.9.1' },
    ])
  })

  test('of an enterprise is named by enterprise, zero and number', () => {
    expect(decode(v1(oid.cisco, '06', '07')).row!.oid).toBe('1.3.6.1.4.1.9.1.0.7')
    expect(decode(v1(oid.bgpTraps, '06', '02')).row).toMatchObject({
      oid: '1.3.6.1.2.1.15.7.0.2',
      name: 'bgpBackwardTransition',
    })
  })
})

test('a notification has the name of its MIB', () => {
  expect(notificationName('1.3.6.1.4.1.9.9.43.2.0.1')).toBe('ciscoConfigManEvent')
  expect(notificationName('1.3.6.1.4.1.2011.6.10.2.1')).toBe('hwCfgManEventlog')
  expect(notificationName('1.3.6.1.2.1.15.0.2')).toBe('bgpBackwardTransNotification')
  expect(notificationName('1.3.6.1.2.1.14.16.2.2')).toBe('ospfNbrStateChange')
  for (const unknown of ['', '1', '1.3.6.1.4.1.99999.0.1', '1.3.6.1.6.3.1.1.5.constructor']) {
    expect(notificationName(unknown)).toBe('')
  }
})

describe('what is no notification', () => {
  test('is counted by its reason and not stored', () => {
    const get = message('01', tlv(0xa0, int('01'), int('00'), int('00'), sequence()))
    const v3 = sequence(int('03'), sequence(int('01'), int('00'), tlv(4, '04'), int('03')))
    const whole = v2(0xa7, upTime, linkDown)
    const deep = tlv(0x30, tlv(0x30, tlv(0x30, tlv(0x30))))
    const cases: [Uint8Array, TrapProblem][] = [
      [get, 'not-a-notification'],
      [v3, 'unsupported-version'],
      [message('02', tlv(0xa7)), 'unsupported-version'],
      [whole.subarray(0, -1), 'truncated'],
      [Buffer.alloc(9000), 'oversize'],
      [Buffer.alloc(0), 'malformed'],
      [Buffer.from('GET / HTTP/1.1'), 'malformed'],
      [Buffer.from('3080020100', 'hex'), 'malformed'],
      [deep, 'malformed'],
      [v2(0xa7, bind('2bff', tlv(5))), 'malformed'],
      [v2(0xa7, bind(`2b${'01'.repeat(200)}`, tlv(5))), 'malformed'],
      [v2(0xa7, bind('2b9fffffffff7f', tlv(5))), 'malformed'],
      [v1(oid.cisco, '07', '00'), 'malformed'],
    ]
    for (const [bytes, problem] of cases) {
      expect(decode(bytes), Buffer.from(bytes).toString('hex').slice(0, 60)).toMatchObject({
        row: undefined,
        problems: [problem],
        reply: undefined,
      })
    }
  })

  test('does no harm, whatever its bytes', () => {
    const wholes = [
      v2(0xa6, upTime, linkDown, bind(oid.ifDescr2, text('x'))),
      v1(oid.cisco, '06', '07', bind(oid.ifDescr2, int('02'))),
    ]
    const changes = fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 6 })
    fc.assert(
      fc.property(fc.constantFrom(...wholes), changes, fc.nat(200), (whole, edits, cut) => {
        const broken = Buffer.from(whole)
        for (const [at, value] of edits) if (at < broken.length) broken[at] = value
        decode(broken.subarray(0, broken.length - Math.max(0, cut - 100)))
      }),
      { numRuns: 2000 },
    )
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), bytes => void decode(bytes)))
  })
})

describe('net-snmp as a sender', () => {
  /** A UDP socket that gives the first datagram and lets it be answered. */
  async function listen() {
    const socket = createSocket('udp4')
    await new Promise<void>(resolve => socket.bind(0, '127.0.0.1', resolve))
    onTestFinished(() => new Promise<void>(resolve => socket.close(() => resolve())))
    const first = new Promise<{ bytes: Buffer; port: number }>(resolve =>
      socket.once('message', (bytes, from) => resolve({ bytes, port: from.port })),
    )
    const session = (version: number) => {
      const it = snmp.createSession('127.0.0.1', 'c0mmunity', {
        trapPort: socket.address().port,
        version,
        timeout: 2000,
        retries: 0,
      })
      onTestFinished(() => it.close())
      return it
    }
    return { socket, first, session }
  }
  const varbinds = [
    { oid: '1.3.6.1.2.1.2.2.1.1.7', type: snmp.ObjectType.Integer, value: 7 },
    { oid: '1.3.6.1.2.1.31.1.1.1.18.7', type: snmp.ObjectType.OctetString, value: 'uplink' },
  ]
  const shown = [
    { oid: '1.3.6.1.2.1.2.2.1.1.7', type: 'INTEGER', value: 7 },
    { oid: '1.3.6.1.2.1.31.1.1.1.18.7', type: 'OCTET STRING', value: 'uplink' },
  ]

  test.each([
    ['1', snmp.Version1, 1],
    ['2c', snmp.Version2c, 2],
  ])('its trap of version %s is read', async (_, version, column) => {
    const { first, session } = await listen()
    session(version).trap(snmp.TrapType.LinkUp, varbinds, { agentAddr: '192.0.2.99' }, () => {})
    const { row, varbinds: read, problems } = decode((await first).bytes)
    expect(problems).toEqual([])
    expect(row).toMatchObject({ version: column, name: 'linkUp', inform: 0 })
    expect(read.slice(2, 4)).toEqual(shown)
    expect(row!.raw).not.toContain('c0mmunity')
    expect(row!.raw).toContain('*********')
  })

  test('its inform is satisfied by our answer', async () => {
    const { socket, first, session } = await listen()
    const answered = new Promise<unknown>(resolve =>
      session(snmp.Version2c).inform('1.3.6.1.4.1.9.9.43.2.0.1', varbinds, (error: unknown) =>
        resolve(error),
      ),
    )
    const { bytes, port } = await first
    const { row, reply } = decode(bytes)
    expect(row).toMatchObject({ inform: 1, name: 'ciscoConfigManEvent' })
    socket.send(reply!.bytes, port, '127.0.0.1')
    expect(await answered).toBeNull()
  })
})
