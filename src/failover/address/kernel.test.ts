import { expect, test } from 'vitest'
import type { Connection } from './address.ts'
import { requiredTools } from './kernel.ts'

const virtualIp = (...addresses: string[]): Connection => ({
  type: 'virtual-ip',
  addresses: addresses.map(address => ({ address, prefix: 24 })),
})

test.each<[string, Connection, string[]]>([
  ['none', { type: 'none' }, []],
  ['an IPv4 address', virtualIp('192.0.2.10'), ['ip', 'arping']],
  ['an IPv6 address', virtualIp('2001:db8::10'), ['ip', 'ndisc6', 'ndptool']],
  ['both', virtualIp('192.0.2.10', '2001:db8::10'), ['ip', 'arping', 'ndisc6', 'ndptool']],
  [
    'a name',
    { type: 'virtual-name', name: 'keepwatch.example.net', server: '192.0.2.53', ttl: 30 },
    ['nsupdate'],
  ],
])('the programs that are needed for %s', (_what, connection, names) => {
  const tools = requiredTools(connection)
  expect(tools.map(({ name }) => name)).toEqual(names)
  for (const { purpose } of tools) expect(purpose).toMatch(/^to /)
})
