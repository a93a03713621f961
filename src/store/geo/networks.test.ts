import { expect, test } from 'vitest'
import { geoDatabase } from '../../../test/fixtures/geo-database.ts'
import { GeoDatabaseError, geoNetworks } from './networks.ts'

test('every network comes once, IPv4 and IPv6, in rising order', () => {
  const example = { autonomous_system_number: 64_500, autonomous_system_organization: 'Example' }
  const database = geoDatabase({
    '0.0.0.0/8': { country: { iso_code: 'ZZ' } },
    '192.0.2.0/24': example,
    '192.0.3.128/25': { country_code: 'DE' },
    '255.255.255.255/32': { registered_country: { iso_code: 'FR' } },
    '2001:db8::/32': example,
    '3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128': { country: { iso_code: 'AT' } },
  })
  expect([...geoNetworks(database)]).toEqual([
    { prefix: '0.0.0.0/8', asn: 0, organisation: '', country: 'ZZ' },
    { prefix: '192.0.2.0/24', asn: 64_500, organisation: 'Example', country: '' },
    { prefix: '192.0.3.128/25', asn: 0, organisation: '', country: 'DE' },
    { prefix: '255.255.255.255/32', asn: 0, organisation: '', country: 'FR' },
    { prefix: '2001:db8:0:0:0:0:0:0/32', asn: 64_500, organisation: 'Example', country: '' },
    {
      ...{ prefix: '3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128', asn: 0 },
      ...{ organisation: '', country: 'AT' },
    },
  ])
})

test('what says nothing of systems and countries is left out', () => {
  const odd = { autonomous_system_number: 0, country_code: 'Germany' }
  expect([...geoNetworks(geoDatabase({ '192.0.2.0/24': odd }))]).toEqual([])
})

test('another file is refused in words', () => {
  expect(() => [...geoNetworks(Buffer.from('this is no database'))]).toThrow(GeoDatabaseError)
})
