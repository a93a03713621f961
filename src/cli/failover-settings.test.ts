import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pairSettings } from '../api/contract/setup.ts'
import { durationMs } from './failover.ts'
import { changed, describeSettings, type SettingOptions } from './failover-settings.ts'

let folder: string
let keyFile: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'keepwatch-options-'))
  keyFile = join(folder, 'keepwatch.key')
  writeFileSync(
    keyFile,
    'key "kw.example.net" {\n\talgorithm hmac-sha512;\n\tsecret "c2VjcmV0";\n};\n',
  )
  writeFileSync(join(folder, 'password'), 'hunter2\n')
})
afterAll(() => rmSync(folder, { recursive: true }))

const nothing = pairSettings.parse({})
const everything = changed(nothing, {
  secondary: 'kw2.example.net',
  folder: '/mnt/keepwatch',
  mail: 'ops@example.net, noc@example.net',
  smtp: 'mail.example.net:587',
  webhook: 'https://chat.example.net/hook',
  virtualIp: '192.0.2.10/24,2001:db8::10/64',
}).settings

test('options become settings', () => {
  expect(everything).toEqual({
    secondary: 'kw2.example.net',
    sharedFolder: '/mnt/keepwatch',
    connection: {
      type: 'virtual-ip',
      addresses: [
        { address: '192.0.2.10', prefix: 24 },
        { address: '2001:db8::10', prefix: 64 },
      ],
    },
    mail: {
      recipients: ['ops@example.net', 'noc@example.net'],
      from: 'keepwatch@example.net',
      ...{ host: 'mail.example.net', port: 587, security: 'opportunistic' },
      classes: ['self-monitoring', 'synchronization', 'takeover'],
    },
    webhook: 'https://chat.example.net/hook',
  })
  expect(describeSettings(everything)).toContain('virtual IP 192.0.2.10/24, 2001:db8::10/64')
})

test('what is not named stays', () => {
  expect(changed(everything, {}).settings).toEqual(everything)
  const one = changed(everything, { virtualIp: '192.0.2.10/25' }).settings
  const addresses = [{ address: '192.0.2.10', prefix: 25 }]
  expect(one).toEqual({ ...everything, connection: { type: 'virtual-ip', addresses } })
  const recipient = changed(everything, { mail: 'new@example.net' }).settings
  expect(recipient.mail).toEqual({ ...everything.mail, recipients: ['new@example.net'] })
})

test('none removes', () => {
  const options = { folder: 'none', mail: 'none', webhook: 'none', none: true }
  expect(changed(everything, options).settings).toEqual({
    ...nothing,
    secondary: 'kw2.example.net',
  })
})

test('secrets come from files, and go where nothing shows them', () => {
  const { settings, secrets } = changed(everything, {
    ...{ virtualName: 'kw.example.net', dnsServer: 'ns1.example.net', tsigKeyFile: keyFile },
    ...{ smtpUser: 'kw', smtpPasswordFile: join(folder, 'password') },
  })
  expect(settings.connection).toEqual({
    ...{ type: 'virtual-name', name: 'kw.example.net', server: 'ns1.example.net', ttl: 30 },
    tsig: { name: 'kw.example.net', algorithm: 'hmac-sha512' },
  })
  expect(secrets).toEqual({ tsigSecret: 'c2VjcmV0', smtpPassword: 'hunter2' })
  expect(JSON.stringify(settings)).not.toMatch(/hunter2|c2VjcmV0/)
  const server = changed(settings, { dnsServer: 'ns2.example.net' }).settings
  expect(server.connection).toEqual({ ...settings.connection, server: 'ns2.example.net' })
})

describe('an option that is wrong is named with what would be right', () => {
  test.each<[options: SettingOptions, message: RegExp]>([
    [{ virtualIp: '192.0.2.10' }, /--virtual-ip 192\.0\.2\.10: must look like 192\.0\.2\.10\/24/],
    [{ virtualIp: '192.0.2.10/33' }, /--virtual-ip: .*at most 32/],
    [{ virtualIp: '192.0.2.999/24' }, /--virtual-ip: must be an IPv4 or IPv6 address/],
    [{ virtualName: 'a.example.net' }, /--dns-server: is missing/],
    [{ dnsServer: 'ns1.example.net' }, /--virtual-name: is missing/],
    [{ none: true, virtualName: 'a' }, /choose one of them/],
    [{ mail: 'ops@example.net' }, /--smtp: is missing/],
    [{ smtp: 'mail.example.net' }, /--mail: is missing/],
    [{ mail: 'ops', smtp: 'mail' }, /--(mail|smtp-from): must be an e-mail address/],
    [{ mail: 'ops@example.net', smtp: 'a:b:c' }, /--smtp a:b:c: must look like/],
    [{ mail: 'ops@example.net', smtp: 'a:99999' }, /--smtp: /],
    [{ folder: 'mnt' }, /--folder: must be an absolute path/],
    [{ webhook: 'ftp://x' }, /--webhook: /],
  ])('%j', (options, message) => {
    expect(() => changed(nothing, options)).toThrow(message)
  })

  test('a file that holds no key', () => {
    const tsigKeyFile = join(folder, 'password')
    const options = { virtualName: 'a.example.net', dnsServer: 'ns', tsigKeyFile }
    expect(() => changed(nothing, options)).toThrow(/must hold key "name"/)
    expect(() => changed(nothing, options)).not.toThrow('hunter2')
  })
})

test('a duration is a number with its unit', () => {
  expect(['90s', '30m', '2h', '1d'].map(durationMs)).toEqual([90e3, 1.8e6, 7.2e6, 8.64e7])
  expect(() => durationMs('2 hours')).toThrow(/must look like 30m, 2h or 1d/)
})
