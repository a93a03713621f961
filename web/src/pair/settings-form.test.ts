import { describe, expect, test } from 'vitest'
import { pairSettings } from '../../../src/api/contract/setup.ts'
import { prefixOf } from './netmask.ts'
import { type Errors, errorsIn, type Fields, fieldsOf, settingsOf } from './settings-form.ts'

const empty = pairSettings.parse({})
const noSecrets = { smtpPassword: false, tsigSecret: false, webhookSecret: false }

function read(change: Partial<Fields>, kept = noSecrets) {
  return settingsOf({ ...fieldsOf(empty), ...change }, kept)
}
function errorsOf(change: Partial<Fields>): Errors {
  const result = read(change)
  return result.errors ?? {}
}

describe('the form of the settings', () => {
  test('gives back what it was filled from, for each connection type', () => {
    const mail = {
      recipients: ['ann@example.net', 'ops@example.net'],
      from: 'keepwatch@example.net',
      host: 'mail.example.net',
      port: 587,
      security: 'starttls',
      user: 'kw',
      classes: ['takeover'],
    }
    for (const settings of [
      empty,
      {
        ...empty,
        secondary: 'kw2.example.net',
        sharedFolder: '/srv/keepwatch',
        mail,
        webhook: 'https://chat.example.net/hook',
      },
      {
        ...empty,
        connection: {
          type: 'virtual-ip',
          addresses: [
            { address: '192.0.2.10', prefix: 24 },
            { address: '2001:db8::10', prefix: 64 },
          ],
        },
      },
      {
        ...empty,
        connection: {
          type: 'virtual-name',
          name: 'keepwatch.example.net',
          zone: 'example.net',
          server: 'ns1.example.net:5353',
          ttl: 15,
          tsig: { name: 'kw-key', algorithm: 'hmac-sha512' },
        },
      },
    ]) {
      const parsed = pairSettings.parse(settings)
      const result = settingsOf(fieldsOf(parsed), { ...noSecrets, tsigSecret: true })
      expect(result).toEqual({ settings: parsed, secrets: {} })
    }
  })

  test('takes recipients separated by commas, a netmask, and an address with its prefix', () => {
    const result = read({
      type: 'virtual-ip',
      addresses: [
        { address: ' 192.0.2.10 ', prefix: '255.255.255.128' },
        { address: '2001:db8::10/64', prefix: '' },
        { address: '', prefix: '' },
      ],
      recipients: 'ann@example.net,ops@example.net , ',
      from: 'kw@example.net',
      host: 'mail.example.net',
    })
    expect(result.errors).toBeUndefined()
    expect(result).toMatchObject({
      settings: {
        connection: {
          addresses: [
            { address: '192.0.2.10', prefix: 25 },
            { address: '2001:db8::10', prefix: 64 },
          ],
        },
        mail: { recipients: ['ann@example.net', 'ops@example.net'], port: 25 },
      },
    })
  })

  test('says what would be right', () => {
    expect(errorsOf({ secondary: 'not a host' })).toEqual({
      secondary: 'A host name like kw2.example.net, or an IP address like 192.0.2.12',
    })
    expect(errorsOf({ secondary: '192.0.2.300' })).toHaveProperty('secondary')
    expect(errorsOf({ sharedFolder: 'nas:/export' }).sharedFolder).toMatch(/^Mount it on both/)
    expect(errorsOf({ sharedFolder: '\\\\nas\\share' }).sharedFolder).toMatch(/^Mount it on both/)
    expect(errorsOf({ type: 'virtual-ip' })).toEqual({
      'addresses.0.address': 'The address that moves with the active, like 192.0.2.10',
    })
    expect(
      errorsOf({ type: 'virtual-ip', addresses: [{ address: '192.0.2.999', prefix: '33' }] }),
    ).toEqual({
      'addresses.0.address': 'An IPv4 or IPv6 address that nobody has yet, like 192.0.2.10',
      'addresses.0.prefix': 'from 1 to 32',
    })
    expect(
      errorsOf({ type: 'virtual-name', name: 'kw', server: '', zone: 'example.org', ttl: '0' }),
    ).toEqual({
      name: 'A full host name like keepwatch.example.net',
      zone: 'kw does not lie in it',
      server: 'The primary name server of the zone, like ns1.example.net or 192.0.2.53:5353',
      ttl: 'Seconds, from 1 to 3600',
    })
    expect(errorsOf({ recipients: 'ann@example.net; ops@example.net' })).toEqual({
      recipients: 'Separate the addresses with commas: ann@example.net, ops@example.net',
      from: 'The sender, like keepwatch@example.net',
      host: 'The mail server that takes the mail, like mail.example.net',
    })
    expect(errorsOf({ recipients: 'ann' }).recipients).toBe(
      '“ann” is no e-mail address like ops@example.net',
    )
    expect(errorsOf({ webhook: 'chat.example.net' })).toHaveProperty('webhook')
  })

  test('sends a secret only where one was typed, removes it where that was asked', () => {
    const fields = { ...fieldsOf(empty) }
    const secrets = { smtpPassword: 'x', tsigSecret: '', webhookSecret: null }
    expect(settingsOf({ ...fields, secrets }, noSecrets)).toMatchObject({
      secrets: { smtpPassword: 'x', webhookSecret: null },
    })
    const name = {
      type: 'virtual-name',
      name: 'kw.example.net',
      server: 'ns1.example.net',
      tsigName: 'key',
    } as const
    expect(errorsOf(name)).toEqual({ 'secrets.tsigSecret': 'The secret of the key key' })
    expect(read(name, { ...noSecrets, tsigSecret: true }).errors).toBeUndefined()
    expect(
      errorsOf({
        ...name,
        secrets: { smtpPassword: '', tsigSecret: 'no base64!', webhookSecret: '' },
      }),
    ).toEqual({ 'secrets.tsigSecret': "Base64, as in the name server's key file" })
  })

  test('never lets pass what the server refuses', () => {
    for (const change of [
      { recipients: 'a@example.net', from: 'b@example.net', host: 'mail' },
      { type: 'virtual-ip' as const, addresses: [{ address: '::1', prefix: '128' }] },
      { webhook: 'http://localhost:1/x' },
      { sharedFolder: '/x' },
    ]) {
      const result = read(change)
      expect(result.errors, JSON.stringify(change)).toBeUndefined()
      if (result.errors === undefined)
        expect(pairSettings.parse(result.settings)).toEqual(result.settings)
    }
  })
})

test('what the server says against a field is shown there, the rest at the end', () => {
  expect(
    errorsIn(
      'settings.mail.recipients.1: must be an e-mail address like ops@example.net; settings.connection.addresses.0.prefix: of an IPv4 address is at most 32; 24 stands for 255.255.255.0',
    ),
  ).toEqual({
    errors: {
      recipients: 'must be an e-mail address like ops@example.net',
      'addresses.0.prefix': 'of an IPv4 address is at most 32; 24 stands for 255.255.255.0',
    },
    rest: '',
  })
  expect(errorsIn('sharedFolder: it is not empty').errors).toEqual({
    sharedFolder: 'it is not empty',
  })
  expect(errorsIn('secrets.tsigSecret: is missing; the key k needs its secret').errors).toEqual({
    'secrets.tsigSecret': 'is missing; the key k needs its secret',
  })
  expect(errorsIn('something else')).toEqual({ errors: {}, rest: 'something else' })
})

test('a netmask is the length of its prefix', () => {
  expect(prefixOf('24', '192.0.2.1')).toBe(24)
  expect(prefixOf(' /24 ', '192.0.2.1')).toBe(24)
  expect(prefixOf('255.255.255.0', '192.0.2.1')).toBe(24)
  expect(prefixOf('255.255.255.255', '192.0.2.1')).toBe(32)
  expect(prefixOf('128.0.0.0', '192.0.2.1')).toBe(1)
  expect(prefixOf('64', '2001:db8::1')).toBe(64)
  expect(prefixOf('255.0.255.0', '192.0.2.1')).toMatch(/^not a netmask/)
  expect(prefixOf('0.0.0.0', '192.0.2.1')).toMatch(/^not a netmask/)
  expect(prefixOf('255.255.255.0', '2001:db8::1')).toMatch(/no netmask$/)
  expect(prefixOf('0', '192.0.2.1')).toBe('from 1 to 32')
  expect(prefixOf('', '192.0.2.1')).toBe('like 24, or 255.255.255.0')
  expect(prefixOf('x', '192.0.2.1')).toMatch(/netmask like/)
})
