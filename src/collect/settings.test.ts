import { expect, test } from 'vitest'
import { parseSettings } from '../lib/settings.ts'
import { collectorSettings } from './settings.ts'

const parse = (text: string) => parseSettings(text, 'collector.yaml', collectorSettings)
const least = `name: site-1
spool: /var/lib/keepwatch/spool
servers:
  - { name: primary, url: "https://10.0.0.1:7443" }
`

test('a collector needs a name, a folder and a server; the ports are the usual ones', () => {
  expect(parse(least).listen).toMatchObject({
    address: '',
    netflow: 2055,
    ipfix: 4739,
    sflow: 6343,
    syslog_udp: 514,
    syslog_tcp: 514,
    ipfix_tcp: 4739,
    traps: 162,
  })
})

test('a listener can be turned off or moved', () => {
  const { listen } = parse(`${least}listen: { traps: false, netflow: 0, address: "192.0.2.1" }\n`)
  expect(listen).toMatchObject({ traps: false, netflow: 0, address: '192.0.2.1', sflow: 6343 })
})

test('what is wrong is named with its line', () => {
  expect(() => parse(`${least}listen:\n  netflow: 70000\n`)).toThrow(
    'collector.yaml:6: listen.netflow',
  )
  expect(() => parse(least.replace('https', 'http'))).toThrow('must look like https://server:8450')
  expect(() => parse(`${least}  - { name: primary, url: "https://10.0.0.2:7443" }\n`)).toThrow(
    'two servers have the same name',
  )
})
