import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseAddress } from '../telemetry/address.ts'
import { createBatch } from '../telemetry/batch.ts'
import { decodeNative, encodeNative, type Row } from '../telemetry/native.ts'
import { syslogTable } from '../telemetry/syslog.ts'
import { createSyslogDecoder, type SyslogProblem } from './syslog.ts'

const received = Date.parse('2024-03-10T12:00:00.000Z')
const sender = parseAddress('192.0.2.7')!

function decodeBytes(bytes: Uint8Array, at = received, config: { zone?: number } = {}) {
  const problems: SyslogProblem[] = []
  const batch = createBatch(syslogTable, 1, () => {})
  const decoder = createSyslogDecoder({ batch, onProblem: p => problems.push(p) }, config)
  decoder.decode(bytes, sender, 'udp', at)
  expect(batch.rows).toBe(1)
  return { row: decodeNative(encodeNative(batch), syslogTable).toRows()[0]!, problems }
}

const decode = (text: string, at?: number, config?: { zone?: number }) =>
  decodeBytes(Buffer.from(text), at, config)

/** Time of day of 10 March 2024 in UTC, or undefined where the receive time stands in. */
type Expected = Partial<Row> & { at?: string }

function check(text: string, { at, ...expected }: Expected) {
  const { row, problems } = decode(text)
  expect(problems, text).toEqual([])
  expect(row, text).toMatchObject({ ...expected, raw: text, received, sender: '192.0.2.7' })
  const time = at === undefined ? received : Date.parse(`2024-03-10T${at}Z`)
  expect(new Date(row.time as number).toISOString(), text).toBe(new Date(time).toISOString())
}

const config = { msg_id: 'SYS-5-CONFIG_I', message: 'Configured from console by ada on vty0' }
const text = '%SYS-5-CONFIG_I: Configured from console by ada on vty0'

/** Messages made for this test and what is to be read in them, one a line. */
function forms(name: string): [string, Expected][] {
  const lines = readFileSync(join(import.meta.dirname, 'fixtures', name), 'utf8')
    .trimEnd()
    .split('\n')
  return lines.map(line => {
    const [message, expected] = line.split('\t')
    return [message!, JSON.parse(expected!) as Expected]
  })
}

describe('the Cisco header', () => {
  test.each(forms('syslog-cisco.tsv'))('%s', check)

  test('without a priority has the severity of the mnemonic', () => {
    check(`42: r1: Mar 10 11:59:58: ${text}`, {
      facility: 255,
      severity: 5,
      host: 'r1',
      ...config,
      at: '11:59:58',
    })
    check('Mar 10 11:59:58 sw1 %STP-W-PORTSTATUS: gi1: STP status Forwarding', {
      severity: 4,
      msg_id: 'STP-W-PORTSTATUS',
      host: 'sw1',
      at: '11:59:58',
    })
  })

  test('takes mnemonics of several parts', () => {
    for (const id of [
      'SECURITY-SSHD_SYSLOG_PRX-6-INFO_GENERAL',
      'LINK-SP-3-UPDOWN',
      'PKT_INFRA-LINK-3-UPDOWN',
    ]) {
      check(`<189>42: Mar 10 11:59:58: %${id}: x`, { msg_id: id, message: 'x', at: '11:59:58' })
      check(`<189>42: Mar 10 11:59:58: %${id} : x`, { msg_id: id, message: 'x', at: '11:59:58' })
    }
  })
})

describe('a vendor’s form', () => {
  test.each(forms('syslog-vendors.tsv'))('%s', check)
})

describe('RFC 3164', () => {
  test.each<[string, Expected]>([
    [
      "<34>Mar 10 11:59:58 mymachine su: 'su root' failed",
      {
        facility: 4,
        severity: 2,
        host: 'mymachine',
        app: 'su',
        message: "'su root' failed",
        at: '11:59:58',
      },
    ],
    ['<13>Mar  9 23:59:58 h x', { host: 'h', message: 'x' }],
    [
      '<13>Mar 10 11:59:58 sshd[12]: no host',
      { host: '', app: 'sshd', proc: '12', at: '11:59:58' },
    ],
    [
      '<13>Mar 10 11:59:58 h job: 2020-01-01 00:00:00 began',
      { host: 'h', app: 'job', message: '2020-01-01 00:00:00 began', at: '11:59:58' },
    ],
    [
      '<13>job: 2024-03-10T11:00:00Z began',
      { host: '', app: 'job', message: '2024-03-10T11:00:00Z began' },
    ],
    ['<13>Use the BFG!', { facility: 1, severity: 5, host: '', message: 'Use the BFG!' }],
    ['<0>x', { facility: 0, severity: 0, message: 'x' }],
    ['<13>Mar 10 11:59:58', { message: '', at: '11:59:58' }],
    ['<13>Mar 10 11:59:58 onlyhost', { at: '11:59:58' }],
  ])('%s', (line, expected) => {
    if (line.includes('Mar  9'))
      expect(decode(line, received, { zone: 0 }).row.time).toBe(Date.parse('2024-03-09T23:59:58Z'))
    else check(line, expected)
  })
})

describe('RFC 5424', () => {
  test.each<[string, Expected]>([
    [
      '<34>1 2024-03-10T11:59:58.003Z mymachine.example.com su - ID47 - \u{feff}failed',
      {
        facility: 4,
        severity: 2,
        host: 'mymachine.example.com',
        app: 'su',
        proc: '',
        msg_id: 'ID47',
        structured: '',
        message: 'failed',
        at: '11:59:58.003',
      },
    ],
    [
      '<165>1 2024-03-10T05:59:58.000003-06:00 192.0.2.1 p 8710 - - %% It',
      { host: '192.0.2.1', app: 'p', proc: '8710', message: '%% It', at: '11:59:58' },
    ],
    ['<165>1 - - - - - -', { host: '', app: '', message: '' }],
    [
      '<165>1 2024-03-10T11:59:58Z h a - ID [x@1 a="]\\"\\\\" b=""][y@1] text',
      { structured: '[x@1 a="]\\"\\\\" b=""][y@1]', message: 'text', at: '11:59:58' },
    ],
    [
      '<165>1 2024-03-10T11:59:58Z h a - ID [x@1]',
      { structured: '[x@1]', message: '', at: '11:59:58' },
    ],
    [
      '<165>1 2024-03-10T11:59:58Z h a - ID - UPPER_CASE: text',
      { msg_id: 'ID', message: 'UPPER_CASE: text', at: '11:59:58' },
    ],
    [
      '<165>1 2024-03-10T11:59:58Z h - - - - multi\nline',
      { message: 'multi\nline', at: '11:59:58' },
    ],
  ])('%s', check)

  test('that is broken is stored as far as it goes, and counted', () => {
    expect(decode('<165>1 2024-03-10T11:59:58Z h a')).toMatchObject({
      row: { host: 'h', app: 'a', message: '' },
      problems: ['bad-header'],
    })
    expect(decode('<165>1 2024-03-10T11:59:58Z h a - ID [x@1 a="b text')).toMatchObject({
      row: { structured: '', message: '[x@1 a="b text' },
      problems: ['bad-structured-data'],
    })
    expect(decode('<165>1 nonsense h a - ID - text')).toMatchObject({
      row: { severity: 5, time: received },
    })
  })
})

describe('the time of a message', () => {
  test('without a year is of the year that is nearest', () => {
    const newYear = Date.parse('2024-01-01T00:00:30Z')
    expect(decode('<13>Dec 31 23:59:58 h x', newYear).row.time).toBe(
      Date.parse('2023-12-31T23:59:58Z'),
    )
    const oldYear = Date.parse('2023-12-31T23:59:30Z')
    expect(decode('<13>Jan  1 00:00:02 h x', oldYear).row.time).toBe(
      Date.parse('2024-01-01T00:00:02Z'),
    )
    const leap = Date.parse('2024-02-29T12:00:01Z')
    expect(decode('<13>Feb 29 12:00:00 h x', leap).row.time).toBe(leap - 1000)
  })

  test('is the receive time if the device’s is more than 25 hours old or 5 minutes ahead', () => {
    const at = (text: string) => decode(`<13>1 ${text} h - - - - x`)
    expect(at('2024-03-09T11:00:00Z')).toMatchObject({
      row: { time: received - 25 * 3_600_000 },
      problems: [],
    })
    expect(at('2024-03-09T10:59:59Z')).toMatchObject({
      row: { time: received },
      problems: ['implausible-time'],
    })
    expect(at('2024-03-10T12:05:00Z')).toMatchObject({
      row: { time: received + 300_000 },
      problems: [],
    })
    expect(at('2024-03-10T12:05:01Z')).toMatchObject({
      row: { time: received },
      problems: ['implausible-time'],
    })
  })

  test('without a zone is in the zone of the settings', () => {
    expect(decode('<13>Mar 10 13:59:58 h x', received, { zone: 120 }).row.time).toBe(
      received - 2000,
    )
    expect(decode('<13>1 2024-03-10T11:59:58Z h - - - - x', received, { zone: 120 }).row.time).toBe(
      received - 2000,
    )
  })

  test('without any zone is of the zone in which it has just been sent', () => {
    for (const clock of ['06:59:58', '14:59:58', '17:44:58', '11:59:58']) {
      expect(decode(`<13>Mar 10 ${clock} h x`, received).row.time, clock).toBe(received - 2000)
    }
    expect(decode('<13>Mar 10 11:53:00 h x', received).row.time).toBe(received - 420_000)
  })

  test('is right on every day', () => {
    const day = fc.date({
      min: new Date('1971-01-03'),
      max: new Date('2099-12-30'),
      noInvalidDate: true,
    })
    fc.assert(
      fc.property(day, date => {
        const iso = date.toISOString()
        const [, month, dayOfMonth, , clock] = date
          .toUTCString()
          .split(/ |, /)
          .map((part, i, all) => (i === 1 ? all[2]! : i === 2 ? all[1]!.replace(/^0/, ' ') : part))
        const short = `<13>${month} ${dayOfMonth} ${clock} h x`
        expect(decode(`<13>1 ${iso} h - - - - x`, date.getTime()).row.time).toBe(date.getTime())
        expect(decode(short, date.getTime()).row.time, short).toBe(
          Math.floor(date.getTime() / 1000) * 1000,
        )
      }),
    )
  })
})

describe('whatever arrives', () => {
  test('nothing, blanks and an impossible priority are one row each', () => {
    expect(decode('')).toMatchObject({
      row: { raw: '', facility: 255, severity: 255 },
      problems: ['empty'],
    })
    expect(decode('\n\0 ')).toMatchObject({
      row: { raw: '\n\0 ', message: '' },
      problems: ['empty'],
    })
    expect(decode('<192>x')).toMatchObject({
      row: { severity: 255, message: 'x' },
      problems: ['bad-priority', 'unparsed'],
    })
    expect(decode('just words')).toMatchObject({
      row: { facility: 255, severity: 255, message: 'just words', time: received },
      problems: ['unparsed'],
    })
  })

  test('what trails is cut from the text and stays in the raw message', () => {
    expect(decode('<13>Mar 10 11:59:58 h a: text\r\n\0').row).toMatchObject({
      message: 'text',
      raw: '<13>Mar 10 11:59:58 h a: text\r\n\0',
    })
    expect(decode('\u{feff}<13>Mar 10 11:59:58 h a: text').row).toMatchObject({
      host: 'h',
      message: 'text',
    })
  })

  test('keeps its bytes, UTF-8 or not', () => {
    const gbk = Buffer.concat([
      Buffer.from('<13>Mar 10 11:59:58 h a: '),
      Buffer.from([0xc4, 0xe3, 0xff]),
    ])
    const batch = createBatch(syslogTable, 1, () => {})
    createSyslogDecoder({ batch, onProblem() {} }).decode(gbk, sender, 'tls', received)
    const native = Buffer.from(encodeNative(batch))
    expect(native.includes(gbk)).toBe(true)
    expect(native.includes(Buffer.from([3, 0x74, 0x6c, 0x73]))).toBe(true)
  })

  test('is one row with its raw bytes, and never an error', () => {
    const part = fc.oneof(
      fc.string({ maxLength: 20 }),
      fc.constantFrom(
        '<189>',
        '<',
        '>',
        '1 ',
        '42: ',
        'r1: ',
        'host ',
        'Mar 10 11:59:58',
        '2024-03-10T11:59:58',
        '.5',
        ' UTC: ',
        ': ',
        ' ',
        '%',
        '%%01',
        '%$ ',
        text,
        'app[12]: ',
        'RP/0/CPU0:',
        '*',
        '- ',
        '[x a="',
        '"]',
        '\\',
        'date=',
        'time=',
        'eventtime=17',
        ',',
        '1,2024/03/10',
        'A/4/B(l)[1]:',
        '\0',
        '\n',
        '2y10w',
        'UTC ',
      ),
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 25 }), parts => {
        const line = parts.join('')
        expect(decode(line).row.raw).toBe(line.toWellFormed().replace(/^\u{feff}/u, ''))
      }),
      { numRuns: 2000 },
    )
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), bytes => void decodeBytes(bytes)))
  })

  test('costs time in proportion to its length', () => {
    const hostile = [
      'UTC ',
      'a: ',
      'Jan  1 00:00:00 h 1: ',
      '%$ ',
      '[',
      'x=',
      '1,',
      '12 <1',
      ': ',
      'a/b:',
      '2y',
    ]
    for (const piece of hostile) {
      for (const head of ['', '<13>', '<13>1 - - - - - ', '<13>Mar 10 11:59:58 h ', 'date=']) {
        decode(head + piece.repeat(60_000 / piece.length))
      }
    }
  })
})
