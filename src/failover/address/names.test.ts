import { describe, expect, test } from 'vitest'
import { parseServer } from './name-servers.ts'
import { ownerIn, updateScript } from './name-update.ts'

test.each([
  ['192.0.2.53', '192.0.2.53', 53],
  ['192.0.2.53:5353', '192.0.2.53', 5353],
  ['ns1.example.net', 'ns1.example.net', 53],
  ['ns1.example.net:5353', 'ns1.example.net', 5353],
  ['2001:db8::53', '2001:db8::53', 53],
  ['[2001:db8::53]', '2001:db8::53', 53],
  ['[2001:db8::53]:5353', '2001:db8::53', 5353],
])('the name server %s is %s, port %i', (text, host, port) => {
  expect(parseServer(text)).toEqual({ host, port })
})

test('the owner of a name is the highest term among its text records', () => {
  expect(ownerIn([])).toBeUndefined()
  expect(ownerIn([['v=spf1 -all']])).toBeUndefined()
  expect(ownerIn([['term=9 server=b'], ['term=10 ', 'server=a']])).toEqual({
    term: 10,
    server: 'a',
  })
})

describe('an update', () => {
  const update = {
    ...{ name: 'keepwatch.example.net', zone: 'example.net', ttl: 30 },
    server: { name: 'ns1', address: '192.0.2.53', port: 53 },
    tsig: { name: 'key', algorithm: 'hmac-sha256', secret: 'c2VjcmV0' },
    addresses: ['192.0.2.1', '2001:db8::1'],
    ...{ owner: { term: 7, server: 'a' }, read: [['term=6 server="b\\']] },
  }

  test('replaces all records of the name in one message, if the fence is as it was read', () => {
    expect(updateScript(update)).toBe(
      `server 192.0.2.53 53
zone example.net.
key hmac-sha256:key c2VjcmV0
prereq yxrrset _keepwatch.keepwatch.example.net. TXT "term=6 server=\\"b\\\\"
update delete keepwatch.example.net. A
update delete keepwatch.example.net. AAAA
update add keepwatch.example.net. 30 A 192.0.2.1
update add keepwatch.example.net. 30 AAAA 2001:db8::1
update delete _keepwatch.keepwatch.example.net. TXT
update add _keepwatch.keepwatch.example.net. 30 TXT "term=7 server=a"
send
`,
    )
    expect(updateScript({ ...update, read: [] })).toContain('prereq nxrrset _keepwatch.')
  })

  test.each([
    ['a name', { name: 'a.example.net\nsend' }],
    ['a zone', { zone: 'example.net.\nserver 198.51.100.1' }],
    ['a key', { tsig: { ...update.tsig, name: 'key x' } }],
    ['a secret', { tsig: { ...update.tsig, secret: 'x\nsend' } }],
  ])('with a command hidden in %s is refused', (_what, part) => {
    expect(() => updateScript({ ...update, ...part })).toThrow(/not a name|not base64/)
  })
})
