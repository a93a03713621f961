import { describe, expect, test } from 'vitest'
import { detectChange } from '../change.ts'
import { defineDriver, maskSecrets } from './driver.ts'
import { drivers } from './index.ts'

const ios = drivers.get('cisco-ios')!
const frr = drivers.get('linux-frr')!

describe('secrets of IOS', () => {
  test.each([
    ['enable secret 9 $9$XYZ', 'enable secret 9 <hidden>'],
    ['enable password level 7 7 XYZ', 'enable password level 7 7 <hidden>'],
    ['username ops privilege 15 secret 5 XYZ', 'username ops privilege 15 secret 5 <hidden>'],
    ['username ops password 0 XYZ and more', 'username ops password 0 <hidden>'],
    [' password 7 XYZ', ' password 7 <hidden>'],
    ['snmp-server community XYZ RW 5', 'snmp-server community <hidden> RW 5'],
    [
      'snmp-server host 192.0.2.1 vrf M informs version 2c XYZ  tty',
      'snmp-server host 192.0.2.1 vrf M informs version 2c <hidden>  tty',
    ],
    ['snmp-server host 192.0.2.1 XYZ', 'snmp-server host 192.0.2.1 <hidden>'],
    [
      'snmp-server user u g v3 auth sha XYZ priv aes 128 XYZ',
      'snmp-server user u g v3 auth sha <hidden> priv aes 128 <hidden>',
    ],
    ['tacacs-server host 192.0.2.9 key 7 XYZ', 'tacacs-server host 192.0.2.9 key 7 <hidden>'],
    [' server-private 192.0.2.9 key 7 XYZ', ' server-private 192.0.2.9 key 7 <hidden>'],
    [' client 192.0.2.9 server-key 7 XYZ', ' client 192.0.2.9 server-key 7 <hidden>'],
    [' key 7 XYZ', ' key 7 <hidden>'],
    [' key XYZ', ' key <hidden>'],
    [' key 1', ' key 1'],
    ['  key-string 7 XYZ', '  key-string 7 <hidden>'],
    ['crypto isakmp key 6 XYZ address 0.0.0.0', 'crypto isakmp key 6 <hidden> address 0.0.0.0'],
    [' pre-shared-key address 0.0.0.0 key XYZ', ' pre-shared-key address 0.0.0.0 key <hidden>'],
    [' ip ospf authentication-key 7 XYZ', ' ip ospf authentication-key 7 <hidden>'],
    [' ip ospf message-digest-key 1 md5 7 XYZ', ' ip ospf message-digest-key 1 md5 7 <hidden>'],
    ['ntp authentication-key 1 md5 XYZ 7', 'ntp authentication-key 1 md5 <hidden> 7'],
    [' neighbor 192.0.2.1 password 7 XYZ', ' neighbor 192.0.2.1 password 7 <hidden>'],
    [
      ' standby 1 authentication md5 key-string 7 XYZ',
      ' standby 1 authentication md5 key-string 7 <hidden>',
    ],
    [' standby 1 authentication XYZ', ' standby 1 authentication <hidden>'],
    [' path ftp://ops:XYZ@192.0.2.7/', ' path ftp://ops:<hidden>@192.0.2.7/'],
    ['service password-encryption', 'service password-encryption'],
    ['password encryption aes', 'password encryption aes'],
    ['security passwords min-length 8', 'security passwords min-length 8'],
  ])('%s', (line, masked) => {
    expect(maskSecrets(ios, line)).toBe(masked)
  })
})

describe('secrets of FRR and Linux', () => {
  test.each([
    ['enable password 8 XYZ', 'enable password 8 <hidden>'],
    [' neighbor 192.0.2.1 password XYZ', ' neighbor 192.0.2.1 password <hidden>'],
    [' ip ospf message-digest-key 1 md5 XYZ', ' ip ospf message-digest-key 1 md5 <hidden>'],
    [' isis password clear XYZ', ' isis password clear <hidden>'],
    ['PrivateKey = XYZ', 'PrivateKey = <hidden>'],
    ['psk=XYZ', 'psk=<hidden>'],
    ['    wpa-psk XYZ', '    wpa-psk <hidden>'],
    ['ip prefix-list A seq 5 permit any', 'ip prefix-list A seq 5 permit any'],
  ])('%s', (line, masked) => {
    expect(maskSecrets(frr, line)).toBe(masked)
  })
})

describe('a message that says "configured"', () => {
  const detect = (driver: typeof ios, raw: string) =>
    detectChange(driver, { time: 0, sender: '', host: '', msgId: 'X', message: '', raw })

  test.each([
    [
      '<189>24: r1: May 23 15:49:32.302: %SYS-5-CONFIG_I: Configured from console by alice on vty0 (192.0.2.7)',
      'alice',
      '192.0.2.7',
    ],
    [
      '<189>27: r1: May 31 15:54:54.567 MEST: %SYS-5-CONFIG_I: Configured from console by admin on console',
      'admin',
      undefined,
    ],
    [
      '<189>24: r1: May 23 15:49:32: %SYS-5-CONFIG_I: Configured from tftp://192.0.2.1//boot by console',
      'console',
      undefined,
    ],
    [
      '<189>: *Mar  1 00:00:00: %SYS-SW1-5-CONFIG_I: Configured from console by bob on vty1 (2001:db8::7)',
      'bob',
      '2001:db8::7',
    ],
    [
      '<189>1: %PARSER-5-CFGLOG_LOGGEDCMD: User:carol  logged command:hostname x',
      'carol',
      undefined,
    ],
    [
      '<189>1: %DMI-5-CONFIG_I: R0/0: dmiauthd: Configured from NETCONF/RESTCONF by dave, transaction-id 7',
      'dave',
      undefined,
    ],
  ])('of IOS: %s', (raw, user, from) => {
    expect(detect(ios, raw)).toEqual({ user, from, mnemonic: 'X' })
  })

  test.each([
    [
      '<29>Nov 21 r2 staticd[7]: [M7Q4P-46WDR] vty[9]@(config)# ip route 10.99.0.0/16 Null0',
      undefined,
    ],
    [
      '<29>Nov 21 r2 bgpd[7]: [M7Q4P-46WDR] vty[9]@(config-router)# neighbor 192.0.2.1 remote-as 1',
      undefined,
    ],
    [
      "<86>Nov 21 r2 sudo:   erin : TTY=pts/0 ; PWD=/root ; USER=root ; COMMAND=/usr/bin/vtysh -c 'configure terminal' -c x",
      'erin',
    ],
    ['<13>Nov 21 r2 frr: Configuration saved to /etc/frr/frr.conf by frank', 'frank'],
    ['<13>Nov 21 r2 vtysh: Integrated configuration saved to /etc/frr/frr.conf', undefined],
  ])('of a Linux host: %s', (raw, user) => {
    expect(detect(frr, raw)).toMatchObject({ user })
  })

  test('is none where the configuration was only read', () => {
    expect(
      detect(frr, '<29>r2 staticd[7]: [M7Q4P-46WDR] vty[9]@# do write terminal'),
    ).toBeUndefined()
    expect(detect(frr, '<29>r2 staticd[7]: [M7Q4P-46WDR] vty[9]@(config)# end')).toBeUndefined()
    expect(
      detect(frr, "<86>r2 sudo: kw : COMMAND=/usr/bin/vtysh -c 'show running-config'"),
    ).toBeUndefined()
    expect(
      detect(ios, '<189>1: %LINK-3-UPDOWN: Interface Gi1, changed state to up'),
    ).toBeUndefined()
    expect(detect(ios, '<189>1: %SYS-5-CONFIG_E: Enter configuration mode')).toBeUndefined()
  })
})

test('log lines within an answer are seen, the same text within a command is not', () => {
  const noisy = (line: string) => ios.noise.some(pattern => pattern.test(line))
  expect(noisy('*Aug 29 11:54:34.123: %SYS-5-CONFIG_I: Configured from console')).toBe(true)
  expect(noisy(' ip address 1*Mar  1 00:01:02.003 UTC: %LINK-3-UPDOWN: Interface')).toBe(true)
  expect(noisy('000123: Aug 29 2024 11:54:34: %LINEPROTO-5-UPDOWN: Line')).toBe(true)
  expect(noisy('%SYS-5-CONFIG_I: Configured from console')).toBe(true)
  expect(noisy(' event syslog pattern "%SYS-5-CONFIG_I: Configured"')).toBe(false)
})

test('a pattern that would keep a state, or hide nothing, is refused when the driver is made', () => {
  expect(() => defineDriver({ ...ios, errors: [/x/g] })).toThrow('keeps a state')
  expect(() => defineDriver({ ...ios, secrets: [/password (\S+)/] })).toThrow('no group "secret"')
})
