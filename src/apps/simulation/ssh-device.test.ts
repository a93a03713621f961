import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { collectConfiguration } from '../../devices/backup.ts'
import { diffLines } from '../../devices/diff.ts'
import { maskSecrets } from '../../devices/drivers/driver.ts'
import { drivers } from '../../devices/drivers/index.ts'
import { createSessions } from '../../devices/session.ts'
import { systemClock } from '../../lib/clock.ts'
import { createSshDevice, type SshDevice } from './ssh-device.ts'

let folder: string
let configured: string[]
const started: SshDevice[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'keepwatch-device-'))
  configured = []
})
afterEach(async () => {
  for (const device of started.splice(0)) await device.stop()
  rmSync(folder, { recursive: true })
})

async function startDevice(kind: 'ios' | 'frr', hostname: string) {
  const device = createSshDevice(
    { clock: systemClock, onConfigured: user => configured.push(user) },
    { kind, address: '127.0.0.1', port: 0, user: 'netops', password: 'made-up', hostname, folder },
  )
  await device.start()
  started.push(device)
  return device
}

const hostKeys = new Map<string, string>()

function open(device: SshDevice, driver: string) {
  const { open } = createSessions(
    {
      hostKeys: {
        get: async id => hostKeys.get(id),
        set: async (id, key) => void hostKeys.set(id, key),
      },
    },
    { quietMs: 40 },
  )
  const target = {
    id: folder,
    name: 'device',
    address: '127.0.0.1',
    port: device.port(),
    driver: drivers.get(driver)!,
    login: { username: 'netops', password: 'made-up' },
  }
  return { open, target, signal: AbortSignal.timeout(10_000) }
}

async function backUp(device: SshDevice, driver: string) {
  const { target, signal, ...deps } = open(device, driver)
  const options = { signal, lastLength: () => undefined }
  const { artefacts } = await collectConfiguration(deps, target, options)
  return artefacts[0]!
}

describe('a simulated IOS device', () => {
  test('is backed up through enable and without a pager', async () => {
    const device = await startDevice('ios', 'access-1')
    const { content, author } = await backUp(device, 'cisco-ios')
    expect(content.split('\n').length).toBeGreaterThan(150)
    expect(content).toContain('\nhostname access-1\n')
    expect(author).toBeUndefined()
    const masked = maskSecrets(drivers.get('cisco-ios')!, content)
    expect(masked).not.toMatch(/kw-made-up|\$9\$|key 7 \d|password 7 \d|key-string 7 \d|md5 7 \d/)
    expect(masked.split('<hidden>').length).toBeGreaterThan(12)
  })

  test('really changes when somebody configures it, and says who did', async () => {
    const device = await startDevice('ios', 'access-1')
    const before = await backUp(device, 'cisco-ios')
    device.configure('alice', [
      'interface GigabitEthernet1/0/7',
      'description meeting room',
      'interface Loopback7',
      'ip address 192.0.2.77 255.255.255.255',
      'no ntp server 192.0.2.123',
    ])
    const after = await backUp(device, 'cisco-ios')
    expect(configured).toEqual(['alice'])
    expect(after.author).toBe('alice')
    const changes = diffLines(before.content, after.content).hunks.flatMap(hunk => hunk.lines)
    expect(changes.filter(line => line.kind !== 'same').map(line => line.text)).toEqual([
      '! No configuration change since last restart',
      expect.stringMatching(/^! Last configuration change at .* by alice$/),
      ' description desk 107',
      ' description meeting room',
      'interface Loopback7',
      ' ip address 192.0.2.77 255.255.255.255',
      '!',
      'ntp server 192.0.2.123',
    ])
    expect(() => device.configure('alice', ['frobnicate'])).toThrow('refuses "frobnicate"')
  })

  test('keeps its key and configuration when it is started again', async () => {
    const first = await startDevice('ios', 'access-1')
    first.configure('alice', ['hostname access-9'])
    const before = await backUp(first, 'cisco-ios')
    await started.pop()!.stop()
    const second = await startDevice('ios', 'access-1')
    const after = await backUp(second, 'cisco-ios')
    expect(after.hash).toBe(before.hash)
  })

  test('can be configured by hand, over SSH', async () => {
    const device = await startDevice('ios', 'access-1')
    const { open: openSession, target, signal } = open(device, 'cisco-ios')
    const session = await openSession(target, signal)
    try {
      expect((await session.run('show version', 2000)).text).toContain('uptime is')
      for (const line of ['configure terminal', 'interface Vlan10', 'description users', 'end']) {
        expect((await session.run(line, 2000)).text).not.toContain('%')
      }
      const { text } = await session.run('show running-config', 2000)
      expect(text).toContain('interface Vlan10\n ip address 10.10.10.1 255.255.255.0\n')
      expect(text).toContain('\n description users\n')
      expect((await session.run('reload', 2000)).text).toContain('% Invalid input')
    } finally {
      await session.close()
    }
    expect(configured).toEqual(['netops'])
  })
})

describe('a simulated Linux host with FRR', () => {
  test('is backed up and changed', async () => {
    const device = await startDevice('frr', 'edge-1')
    const before = await backUp(device, 'linux-frr')
    expect(before.content).toContain('\nhostname edge-1\n')
    expect(maskSecrets(drivers.get('linux-frr')!, before.content)).not.toMatch(/kw-?made/i)
    device.configure('bob', ['router bgp 64513', 'neighbor 198.51.100.13 remote-as 64501'])
    const after = await backUp(device, 'linux-frr')
    expect(configured).toEqual(['bob'])
    expect(diffLines(before.content, after.content)).toMatchObject({ added: 1, removed: 0 })
  })

  test('runs commands as programs, with their exit status', async () => {
    const device = await startDevice('frr', 'edge-1')
    const { open: openSession, target, signal } = open(device, 'linux-frr')
    const session = await openSession(target, signal)
    try {
      expect(await session.run('hostname', 2000)).toEqual({ text: 'edge-1\n', status: 0 })
      expect((await session.run('cat /etc/frr/frr.conf', 2000)).text).toContain('router ospf')
      expect((await session.run('cat /etc/shadow', 2000)).status).toBe(1)
      expect((await session.run('nonsense', 2000)).status).toBe(127)
      const change = "vtysh -c 'configure terminal' -c 'ip route 10.0.0.0/8 Null0' -c 'end'"
      expect((await session.run(change, 2000)).status).toBe(0)
    } finally {
      await session.close()
    }
    expect(configured).toEqual(['netops'])
  })
})
