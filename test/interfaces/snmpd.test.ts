/** The interfaces of this machine, asked of Debian's snmpd. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readCounters } from '../../src/interfaces/counters.ts'
import { readInterfaces } from '../../src/interfaces/read.ts'
import { openSnmp, type SnmpAccess, SnmpError } from '../../src/interfaces/session.ts'
import { freePort } from '../../src/lib/ports.ts'

const snmpd = '/usr/sbin/snmpd'
const missing = spawnSync(snmpd, ['-v']).error ? ' (skipped: snmpd is not installed)' : ''

describe.skipIf(missing)(`an SNMP agent${missing}`, () => {
  let dir: string
  let agent: ChildProcess
  let port: number
  const quick = () => ({ port, timeoutMs: 1000, retries: 0 })

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'keepwatch-snmpd-'))
    port = await freePort()
    writeFileSync(
      join(dir, 'snmpd.conf'),
      [
        'rocommunity s3cret',
        'createUser ada SHA-256 "authenticated" AES "confidential"',
        'createUser bob MD5 "authenticated"',
        'rouser ada priv',
        'rouser bob auth',
        '',
      ].join('\n'),
    )
    agent = spawn(
      snmpd,
      ['-f', '-Le', '-C', '-c', join(dir, 'snmpd.conf'), `udp:127.0.0.1:${port}`],
      {
        stdio: 'ignore',
        env: { ...process.env, SNMP_PERSISTENT_DIR: dir },
      },
    )
    const deadline = performance.now() + 10_000
    for (;;) {
      const session = openSnmp('127.0.0.1', { version: '2c', community: 's3cret' }, quick())
      const answers = await session.walk('1.3.6.1.2.1.1.5').catch(() => undefined)
      session.close()
      if (answers) return
      if (performance.now() > deadline) throw new Error('snmpd does not answer')
    }
  })
  afterAll(async () => {
    const ended = once(agent, 'exit')
    agent.kill('SIGTERM')
    await ended
    rmSync(dir, { recursive: true })
  })

  const accesses: Record<string, SnmpAccess> = {
    'version 2c': { version: '2c', community: 's3cret' },
    'version 3 with a secret': {
      ...{ version: '3', user: 'ada' },
      auth: { protocol: 'sha256', key: 'authenticated' },
      priv: { protocol: 'aes', key: 'confidential' },
    },
    'version 3 without': {
      ...{ version: '3', user: 'bob' },
      auth: { protocol: 'md5', key: 'authenticated' },
    },
  }

  test.each(Object.entries(accesses))('names its interfaces by %s', async (_, access) => {
    const session = openSnmp('127.0.0.1', access, quick())
    try {
      const interfaces = await readInterfaces(session)
      const names = interfaces.map(({ name }) => name)
      expect(names).toEqual(expect.arrayContaining(Object.keys(networkInterfaces())))
      expect(interfaces.every(({ index }) => index > 0)).toBe(true)
    } finally {
      session.close()
    }
  })

  test.each(Object.entries(accesses))('tells what they have counted by %s', async (_, access) => {
    const session = openSnmp('127.0.0.1', access, quick())
    const loopback = async () => {
      const index = (await readInterfaces(session)).find(({ name }) => name === 'lo')!.index
      return (await readCounters(session)).find(one => one.index === index)!
    }
    const sender = createSocket('udp4')
    try {
      const before = await loopback()
      expect(before).toMatchObject({ oper: 1, inOctets: expect.any(BigInt) })
      for (let sent = 0; sent < 100; sent++) sender.send(Buffer.alloc(10_000), 9, '127.0.0.1')
      // The agent looks at its interfaces every few seconds.
      const deadline = performance.now() + 25_000
      let after = await loopback()
      while (after.outOctets - before.outOctets < 1_000_000n) {
        if (performance.now() > deadline) throw new Error(`it counted ${after.outOctets}`)
        await sleep(500)
        after = await loopback()
      }
      expect(after.inOctets - before.inOctets).toBeGreaterThanOrEqual(1_000_000n)
      expect(after.inUnicast - before.inUnicast).toBeGreaterThanOrEqual(100n)
    } finally {
      sender.close()
      session.close()
    }
  })

  test.each([
    ['community', { version: '2c', community: 'guessed' }],
    ['user', { version: '3', user: 'eve', auth: { protocol: 'sha', key: 'authenticated' } }],
    ['key', { version: '3', user: 'bob', auth: { protocol: 'md5', key: 'something else' } }],
  ] as [string, SnmpAccess][])('refuses a wrong %s, and that is said', async (_, access) => {
    const session = openSnmp('127.0.0.1', access, quick())
    await expect(readInterfaces(session)).rejects.toThrow(SnmpError)
    session.close()
  })
})
