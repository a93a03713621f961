/**
 * Syslog messages of real devices. What each of them says is read a second time here, by one
 * regular expression per vendor, and compared.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createBatch } from '../../src/telemetry/batch.ts'
import { decodeNative, encodeNative } from '../../src/telemetry/native.ts'
import { syslogTable } from '../../src/telemetry/syslog.ts'
import { createSyslogDecoder, type SyslogProblem } from '../../src/wire/syslog.ts'

const path = join(import.meta.dirname, '../../../shared/captures/syslog/network-devices.tsv')
const skip = existsSync(path) ? '' : ` (skipped: no captures at ${path})`

const pri = /^<(?<pri>\d+)>/.source
const iso = /(?<time>\d{4}-\d\d-\d\dT[\d:.]+\+00:00)/.source
const bsd = /(?<time>\w{3} +\d+ [\d:.]+)/.source
const vendors: Record<string, RegExp> = {
  eos: new RegExp(
    `${pri}(?:${iso}|${bsd.replace('time', 'time2')}) (?<host>\\S+) (?<app>\\S+): %(?<id>\\S+): `,
  ),
  fortinet: new RegExp(
    `${pri}date=(?<time>\\S+ time=\\S+) devname=(?<host>\\S+) .*logid=(?<id>\\d+) type=(?<app>\\w+)`,
  ),
  huawei: new RegExp(
    `${pri}(?<time>\\S+ [\\d:]+\\.\\d+)\\.\\d+ (?<host>\\S+) %%01(?<id>[\\w/]+)\\(`,
  ),
  ios: new RegExp(
    `${pri}\\d+: (?<host>\\S+): (?<unset>\\*?)${bsd}(?: (?<zone>MEST))?: %(?<id>\\S+): `,
  ),
  iosxr: new RegExp(
    `${pri}\\d+: (?<host>\\S+) \\w+/\\d/\\S+?:${bsd} ?(?:UTC)? ?: (?<app>\\w+)\\[(?<proc>\\d+)\\]: %(?<id>\\S+) : `,
  ),
  junos: new RegExp(
    `${pri}(?:${iso}|${bsd.replace('time', 'time2')}) +(?<host>\\S+) (?:(?<app>[\\w/]+)(?:\\[(?<proc>\\d+)\\])?: +(?:(?<id>[A-Z][A-Z0-9]*_[A-Z0-9_]+): )?|(?<card>fpc\\d) )`,
  ),
  netiron: new RegExp(`${pri}${bsd} (?<host>\\S+) (?<app>\\w+): `),
  nxos: new RegExp(`${pri}(?<time>\\d{4} \\w+ \\d+ [\\d:]+) (?<host>\\S+) %(?<id>\\S+): `),
  opengear: new RegExp(
    `${pri}(?<host>\\S+) (?<app>\\S+) (?<time>\\d{4}-\\w{3}-[ \\d]\\d [\\d:.]+) (?<id>[A-Z]+): `,
  ),
  sonic: new RegExp(
    `${pri}1 ${iso} (?<host>\\S+) (?<app>\\S+) (?<proc>\\S+) - -  (?:%(?<id>\\w+): )?`,
  ),
}

/** By Date: fields in words we do not share with the decoder; a year that is not said is 2024. */
function timeOf(said: Record<string, string | undefined>): number {
  const text = (said.time ?? said.time2)!.replace(' time=', ' ').replace(/- /, '-')
  const [, clock = '', fraction = ''] = /(\d\d:\d\d:\d\d)(?:\.(\d+))?/.exec(text)!
  const date = text.slice(0, text.indexOf(clock)).replace(/[T-]/g, ' ').trim()
  const year = /\d{4}/.exec(date) === null ? '2024 ' : ''
  const seconds = Date.parse(`${year}${date} ${clock} UTC`)
  const zone = said.zone === 'MEST' ? 2 * 3_600_000 : 0
  return seconds - zone + Number(`${fraction}000`.slice(0, 3))
}

test.skipIf(skip !== '')(`every line of real devices is parsed${skip}`, () => {
  const lines = readFileSync(path, 'utf8')
    .split('\n')
    .filter(line => line !== '')
  expect(lines.length).toBeGreaterThan(60)
  for (const line of lines) {
    const tab = line.indexOf('\t')
    const raw = line.slice(tab + 1)
    const vendor = line.slice(0, line.indexOf('/'))
    const said = vendors[vendor]!.exec(raw)?.groups
    expect(said, `${vendor}: ${raw}`).toBeDefined()
    const time = timeOf(said!)
    expect(time, raw).not.toBeNaN()

    const received = time + 1500
    const problems: SyslogProblem[] = []
    const batch = createBatch(syslogTable, 1, () => {})
    const decoder = createSyslogDecoder({ batch, onProblem: p => problems.push(p) })
    decoder.decode(Buffer.from(raw), new Uint8Array(16), 'udp', received)
    const [row] = decodeNative(encodeNative(batch), syslogTable).toRows()

    expect(problems, raw).toEqual([])
    expect(row, raw).toMatchObject({
      raw,
      time: said!.unset === '*' ? received : time,
      facility: Number(said!.pri) >> 3,
      severity: Number(said!.pri) & 7,
      host: said!.host,
      app: said!.app ?? said!.card ?? '',
      proc: (said!.proc ?? '').replace('-', ''),
      msg_id: said!.id ?? '',
    })
    expect((row!.message as string).length, raw).toBeGreaterThan(3)
  }
})
