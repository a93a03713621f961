import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ConnectionSettings } from '../../src/failover/address/addresses.ts'
import { createNetwork, type Host, lacksNetwork, type Network, until } from './address-lab.ts'

const lacks = lacksNetwork(['ip', 'arping', 'ndisc6', 'ndptool'])
const title =
  lacks === undefined ? 'the way of connecting' : `the way of connecting (skipped: ${lacks})`

const virtualIp: ConnectionSettings = {
  type: 'virtual-ip',
  addresses: [{ address: '192.0.2.200', prefix: 24 }],
}
const none = JSON.stringify({ type: 'none' })
const holdMs = 3000

describe.skipIf(lacks !== undefined)(title, { timeout: 60_000 }, () => {
  let network: Network
  let a: Host
  let b: Host
  let folder: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'keepwatch-address-'))
    network = await createNetwork()
    ;[a, b] = await Promise.all([network.host('a'), network.host('b')])
  }, 60_000)
  afterEach(async () => {
    await network?.stop()
    await rm(folder, { recursive: true, force: true })
  }, 30_000)

  const has = async (host: Host) => (await host.addresses()).includes('192.0.2.200/24')

  test('is changed on the fly while the address is held, and the hook told of it', async () => {
    const hook = join(folder, 'hook.sh')
    const record = 'echo "$KEEPWATCH_EVENT $KEEPWATCH_TERM $KEEPWATCH_ADDRESSES" >> '
    await writeFile(hook, `#!/bin/sh\n${record}${folder}/calls\n`, { mode: 0o755 })
    const member = await network.member(a, {
      connection: { type: 'none' },
      hook: { command: [hook], deadlineMs: 5000 },
    })
    await member.ask(`take 1 ${holdMs}`, 'taken')
    expect(await member.status()).toMatchObject({ type: 'none', held: false })
    await member.ask(`configure ${JSON.stringify(virtualIp)}`, 'configured')
    expect(await has(a)).toBe(true)
    expect(await member.status()).toMatchObject({ type: 'virtual-ip', held: true })
    await member.ask(`configure ${none}`, 'configured')
    expect(await has(a)).toBe(false)
    expect(member.keeperPid()).toBeUndefined()
    await member.ask(`configure ${JSON.stringify(virtualIp)}`, 'configured')
    await member.ask('drop', 'dropped')
    expect(await has(a)).toBe(false)
    await until(
      async () => calls().length === 5,
      () => calls().join('\n'),
    )
    const own = `${a.v4} ${a.v6}`
    expect(calls()).toEqual([
      `take 1 ${own}`,
      'take 1 192.0.2.200/24',
      `take 1 ${own}`,
      'take 1 192.0.2.200/24',
      'drop 1 192.0.2.200/24',
    ])
    function calls() {
      return readFileSync(join(folder, 'calls'), 'utf8').trim().split('\n')
    }
  })

  test('is known from the last time before anything else answers', async () => {
    const dataDir = join(folder, 'data')
    const first = await network.member(a, { connection: virtualIp, dataDir })
    await first.ask('stop', 'stopped')
    await first.kill()
    const lifetime = ['valid_lft', '60', 'preferred_lft', '60']
    await a.run('ip', 'address', 'add', '192.0.2.200/24', 'dev', 'eth0', ...lifetime)
    const second = await network.member(a, { dataDir })
    expect((await second.status()).type).toBe('virtual-ip')
    expect(await has(a), 'a passive boot drops').toBe(false)
    await second.ask(`take 1 ${holdMs}`, 'taken')
    expect(await has(a)).toBe(true)
  })

  test('that was changed while a crashed server was down leaves no address behind', async () => {
    const dataDir = join(folder, 'data')
    const first = await network.member(a, { connection: virtualIp, dataDir })
    await first.ask(`take 1 ${holdMs}`, 'taken')
    const keeper = first.keeperPid()!
    process.kill(keeper, 'SIGSTOP')
    await first.kill()
    process.kill(keeper, 'SIGKILL')
    // As from a kernel that has not dropped it yet.
    await a.run('ip', 'address', 'replace', '192.0.2.200/24', 'dev', 'eth0')
    const second = await network.member(a, { connection: { type: 'none' }, dataDir })
    expect(await has(a)).toBe(false)
    expect(second.keeperPid()).toBeUndefined()
    expect(JSON.parse(readFileSync(join(dataDir, 'addresses.json'), 'utf8'))).toEqual({ added: [] })
  })

  test('remembers by which MAC addresses the other server is known', async () => {
    const dataDir = join(folder, 'data')
    const first = await network.member(a, {
      ...{ connection: virtualIp, dataDir, peerMacs: [b.mac] },
    })
    await until(
      async () => readFileSync(join(dataDir, 'connection.json'), 'utf8').includes(b.mac),
      'not remembered',
    )
    await first.kill()
    await b.run('ip', 'address', 'add', '192.0.2.200/24', 'dev', 'eth0')
    const second = await network.member(a, { dataDir })
    await second.ask(`take 2 ${holdMs}`, 'taken')
    expect(await has(a)).toBe(true)
    expect(await second.metric('keepwatch_address_conflicts_total{with="peer"}')).toBe(1)
  })
})
