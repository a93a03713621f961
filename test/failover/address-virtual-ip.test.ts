import { type ChildProcess, execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { chmod, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { VirtualAddress } from '../../src/failover/address/address.ts'
import type { ConnectionSettings } from '../../src/failover/address/addresses.ts'
import {
  type AddressMember,
  createNetwork,
  type Host,
  lacksNetwork,
  listen,
  type Network,
  until,
  type Witness,
} from './address-lab.ts'

const lacks = lacksNetwork(['ip', 'arping', 'ndisc6', 'ndptool', 'tcpdump'])
const title = lacks === undefined ? 'virtual addresses' : `virtual addresses (skipped: ${lacks})`

const v4 = { address: '192.0.2.200', prefix: 24 }
const v6 = { address: '2001:db8::200', prefix: 64 }
const both = [v4, v6]
const inKernel = ['192.0.2.200/24', '2001:db8::200/64']
const virtualIp = (...addresses: VirtualAddress[]): ConnectionSettings => ({
  ...{ type: 'virtual-ip', addresses },
})
const asked = (...addresses: VirtualAddress[]) => JSON.stringify(virtualIp(...addresses))
/** Of a hold that is renewed. */
const holdMs = 3000

describe.skipIf(lacks !== undefined)(title, { timeout: 60_000 }, () => {
  let network: Network
  let a: Host
  let b: Host
  let third: Host
  let witness: Witness

  beforeEach(async () => {
    network = await createNetwork()
    ;[a, b, third] = await Promise.all([
      network.host('a'),
      network.host('b'),
      network.host('third'),
    ])
    witness = await listen(third)
  }, 60_000)
  afterEach(() => network?.stop(), 30_000)

  const hasBoth = async (host: Host) => {
    const there = await host.addresses()
    return inKernel.every(address => there.includes(address))
  }
  const hasNone = async (host: Host) => {
    const there = await host.addresses()
    return !inKernel.some(address => there.includes(address))
  }
  const faultOf = async (member: AddressMember) => (await member.status()).fault ?? ''

  /** Announcements of one kind by one machine, as the third host hears them. */
  function announcements(kind: 'request' | 'reply' | 'advertisement', from: Host) {
    const pattern = {
      request: /Request who-has 192\.0\.2\.200 .*tell 192\.0\.2\.200,/,
      reply: /Reply 192\.0\.2\.200 is-at/,
      advertisement: /ff02::1: ICMP6, neighbor advertisement, tgt is 2001:db8::200/,
    }[kind]
    return witness.frames.filter(({ from: mac, text }) => mac === from.mac && pattern.test(text))
  }

  /** The third host sends to both addresses every 10 ms, and remembers whose MAC they had. */
  function exporter(): ChildProcess {
    return third.spawn(
      process.execPath,
      '-e',
      `const { createSocket } = require('node:dgram')
       for (const [type, to] of [['udp4', '192.0.2.200'], ['udp6', '2001:db8::200']]) {
         const socket = createSocket(type).on('error', () => {})
         setInterval(() => socket.send('x', 9999, to, () => {}), 10)
       }`,
    )
  }

  const neighbours = () => third.run('ip', 'neighbour', 'show', 'dev', 'eth0')
  const knows = async (address: string, host: Host) =>
    new RegExp(`^${address.replaceAll('.', '\\.')} lladdr ${host.mac}`, 'm').test(
      await neighbours(),
    )

  test('are taken and announced, and follow the active when the holder is killed', async () => {
    const first = await network.member(a, { connection: virtualIp(...both), peerMacs: [b.mac] })
    const second = await network.member(b, { connection: virtualIp(...both), peerMacs: [a.mac] })
    expect(await hasNone(a)).toBe(true)
    exporter()
    third.spawn(
      ...['sh', '-c'],
      'for i in $(seq 100); do arping -q -f -c 1 -w 1 -I eth0 192.0.2.200 & sleep 0.02; done; wait',
    )
    const { at, ms } = await first.ask(`take 1 ${holdMs}`, 'taken')
    expect(await hasBoth(a)).toBe(true)
    expect(await first.status()).toEqual({
      ...{ type: 'virtual-ip', held: true, fault: undefined },
      what: ['192.0.2.200/24 on eth0', '2001:db8::200/64 on eth0'],
    })
    for (const kind of ['request', 'reply', 'advertisement'] as const) {
      await until(
        async () => announcements(kind, a).length >= 5,
        () => `not five of ${kind}: ${witness.frames.map(({ text }) => text).join('\n')}`,
      )
    }
    console.log(
      `take: ${ms} ms, announced after ${(announcements('request', a)[0]!.at - at).toFixed(0)} ms ` +
        `(IPv4) and ${(announcements('advertisement', a)[0]!.at - at).toFixed(0)} ms (IPv6)`,
    )
    const answered = await until(
      async () =>
        witness.frames.find(
          ({ text }) =>
            text.includes(`${a.mac} > ${third.mac}`) && text.includes('Reply 192.0.2.200'),
        ),
      'no ARP request was answered',
    )
    console.log(`take → first answered ARP request: ${(answered.at - at).toFixed(0)} ms`)
    await first.said('datagram', { where: said => said.family === 'IPv4' })
    await first.said('datagram', { where: said => said.family === 'IPv6' })
    expect(await knows(v4.address, a)).toBe(true)
    expect(await knows(v6.address, a)).toBe(true)

    const killed = Date.now()
    first.signal('SIGKILL')
    await until(() => hasNone(a), 'the kernel of the killed holder still has the addresses')
    console.log(`kill -9 → gone from its kernel: ${Date.now() - killed} ms`)

    const taken = await second.ask(`take 2 ${holdMs}`, 'taken')
    for (const family of ['IPv4', 'IPv6'] as const) {
      const arrived = await second.said('datagram', { where: said => said.family === family })
      console.log(
        `take → first datagram of the third host, which knew the old one (${family}): ` +
          `${arrived.at - taken.at} ms; take itself ${taken.ms} ms`,
      )
    }
    expect(await knows(v4.address, b)).toBe(true)
    expect(await knows(v6.address, b)).toBe(true)
    expect(await hasBoth(b)).toBe(true)
  })

  test('are dropped when the hold of a frozen holder ends, while it is still frozen', async () => {
    const member = await network.member(a, { connection: virtualIp(...both) })
    await member.ask(`take 1 ${holdMs}`, 'taken')
    const frozen = Date.now()
    member.signal('SIGSTOP')
    await until(() => hasNone(a), 'the addresses are still there')
    const ms = Date.now() - frozen
    console.log(`SIGSTOP with a hold of ${holdMs} ms → gone from its kernel: ${ms} ms`)
    expect(ms).toBeLessThan(holdMs + 2000)
    expect(ms).toBeGreaterThan(holdMs - 1000)
    expect(stateOf(member.pid)).toBe('T')
    member.signal('SIGCONT')
    await until(() => hasBoth(a), 'a holder that wakes and renews does not get them back')
    expect(await member.metric('keepwatch_address_problems_total{reason="expired"}')).toBe(1)
  })

  test('are dropped by the kernel itself when holder and keeper die together', async () => {
    const member = await network.member(a, { connection: virtualIp(...both) })
    await member.ask(`take 1 ${holdMs}`, 'taken')
    const keeperPid = member.keeperPid()
    process.kill(keeperPid!, 'SIGSTOP')
    member.signal('SIGKILL')
    process.kill(keeperPid!, 'SIGKILL')
    const before = Date.now()
    await until(() => hasNone(a), 'the addresses are still there')
    console.log(`both killed → gone from its kernel: ${Date.now() - before} ms (hold ${holdMs} ms)`)
  })

  test('survive a keeper that dies or is frozen, and are dropped although it is frozen', async () => {
    const member = await network.member(a, { connection: virtualIp(...both) })
    await member.ask(`take 1 ${holdMs}`, 'taken')
    const first = member.keeperPid()
    process.kill(first!, 'SIGKILL')
    const second = await until(async () => {
      const keeperPid = member.keeperPid()
      return keeperPid !== first && keeperPid
    }, 'no keeper was started again')
    await until(async () => (await member.status()).held, 'they are not held again')
    expect(await hasBoth(a)).toBe(true)
    expect(await member.metric('keepwatch_address_problems_total{reason="keeper-ended"}')).toBe(1)

    process.kill(second, 'SIGSTOP')
    const { ms, error } = await member.ask('drop', 'dropped')
    console.log(`drop with a frozen keeper: ${ms} ms`)
    expect(error).toBeUndefined()
    expect(await hasNone(a)).toBe(true)
  })

  test('are dropped at the start after a crash, under an old prefix, or removed since', async () => {
    const removed = { address: '192.0.2.201', prefix: 24 }
    const member = await network.member(a, { connection: virtualIp(...both, removed) })
    await member.ask(`take 1 ${holdMs}`, 'taken')
    expect(await a.addresses()).toContain('192.0.2.201/24')
    const { dataDir } = member.settings
    await member.ask('stop', 'stopped')
    expect(await hasNone(a)).toBe(true)
    await member.kill()
    // As if it had crashed before a reboot of nothing but itself.
    await a.run('ip', 'address', 'add', '192.0.2.200/25', 'dev', 'eth0')
    await a.run('ip', 'address', 'add', '2001:db8::200/128', 'dev', 'lo')
    await a.run('ip', 'address', 'add', '192.0.2.201/24', 'dev', 'eth0')
    const again = await network.member(a, { connection: virtualIp(...both), dataDir })
    const lo = await a.run('ip', '-o', '-6', 'address', 'show', 'dev', 'lo')
    expect(lo).not.toContain('2001:db8::200')
    const own = (await a.addresses()).filter(address => !address.startsWith('fe80'))
    expect(own.toSorted()).toEqual([`${a.v4}/24`, `${a.v6}/64`].toSorted())
    const file = () => readFileSync(join(dataDir, 'addresses.json'), 'utf8')
    await until(async () => !file().includes(removed.address), file)
    await again.kill()
  })

  test('are not taken when a stranger answers, whose MAC is told, until it has gone', async () => {
    const member = await network.member(a, { connection: virtualIp(...both), peerMacs: [b.mac] })
    await third.run('ip', 'address', 'add', '192.0.2.200/24', 'dev', 'eth0')
    await member.ask(`take 1 ${holdMs}`, 'taken')
    expect(await a.addresses(), 'the other address is taken').toContain('2001:db8::200/64')
    expect(await a.addresses()).not.toContain('192.0.2.200/24')
    expect(await faultOf(member)).toBe(
      `192.0.2.200 is in use by another machine (MAC ${third.mac})`,
    )
    expect(await member.metric('keepwatch_address_conflicts_total{with="stranger"}')).toBe(1)
    expect(await member.metric('keepwatch_address_held{address="192.0.2.200/24"}')).toBe(0)
    await third.run('ip', 'address', 'delete', '192.0.2.200/24', 'dev', 'eth0')
    await until(() => hasBoth(a), 'it is not taken although it is free')
    await until(async () => (await faultOf(member)) === '', 'the fault remains')
  })

  test('are not taken when a stranger answers by IPv6', async () => {
    const member = await network.member(a, { connection: virtualIp(...both), peerMacs: [b.mac] })
    await third.run('ip', 'address', 'add', '2001:db8::200/64', 'dev', 'eth0', 'nodad')
    await member.ask(`take 1 ${holdMs}`, 'taken')
    expect(await a.addresses()).toContain('192.0.2.200/24')
    expect(await a.addresses()).not.toContain('2001:db8::200/64')
    expect(await faultOf(member)).toContain(`(MAC ${third.mac})`)
  })

  test('are taken over from the other server, which is fenced, and announced until it is silent', async () => {
    const member = await network.member(a, {
      connection: virtualIp(...both),
      peerMacs: [b.mac.toUpperCase()],
    })
    await b.run('ip', 'address', 'add', '192.0.2.200/24', 'dev', 'eth0')
    await b.run('ip', 'address', 'add', '2001:db8::200/64', 'dev', 'eth0', 'nodad')
    const { ms } = await member.ask(`take 1 ${holdMs}`, 'taken')
    console.log(`take over a peer that still has them: ${ms} ms`)
    expect(await hasBoth(a)).toBe(true)
    expect(await faultOf(member)).toBe('')
    await until(
      async () => announcements('request', a).length >= 8,
      () => `only ${announcements('request', a).length} announcements`,
    )
    expect(
      await member.metric('keepwatch_address_conflicts_total{with="peer"}'),
    ).toBeGreaterThanOrEqual(2)
  })

  test('are put back when somebody deletes them, and announced anew', async () => {
    const member = await network.member(a, { connection: virtualIp(...both) })
    await member.ask(`take 1 ${holdMs}`, 'taken')
    await until(async () => announcements('request', a).length >= 5, 'not announced')
    const before = Date.now()
    await a.run('ip', 'address', 'delete', '192.0.2.200/24', 'dev', 'eth0')
    await a.run('ip', 'address', 'delete', '2001:db8::200/64', 'dev', 'eth0')
    await until(() => hasBoth(a), 'they are not put back')
    console.log(`deleted by hand → put back: ${Date.now() - before} ms`)
    await until(async () => announcements('request', a).length >= 10, 'not announced anew')
    expect(
      await member.metric('keepwatch_address_problems_total{reason="vanished"}'),
    ).toBeGreaterThanOrEqual(1)

    await a.run('ip', 'link', 'set', 'eth0', 'down')
    await until(
      async () => (await faultOf(member)).includes('the interface eth0 is down'),
      'nobody says that the interface is down',
    )
    expect((await member.status()).held).toBe(false)
    await a.run('ip', 'link', 'set', 'eth0', 'up')
    // The kernel forgets a host's own IPv6 addresses with the interface; who configured them sets them anew.
    await a.run('ip', 'address', 'add', `${a.v6}/64`, 'dev', 'eth0', 'nodad')
    await until(
      async () => (await hasBoth(a)) && (await faultOf(member)) === '',
      'not right again when the interface is up',
    )
  })

  test('are removed from a passive server to which somebody gave them', async () => {
    const member = await network.member(a, { connection: virtualIp(...both) })
    await a.run('ip', 'address', 'add', '192.0.2.200/24', 'dev', 'eth0')
    await until(() => hasNone(a), 'a passive server keeps the address')
    expect(await member.metric('keepwatch_address_problems_total{reason="stray"}')).toBe(1)
  })

  test('get another prefix while a TCP connection goes through them', async () => {
    const member = await network.member(a, { connection: virtualIp(...both) })
    await member.ask(`take 1 ${holdMs}`, 'taken')
    const monitor = a.spawn('ip', '-o', 'monitor', 'address')
    const changes: string[] = []
    createInterface(monitor.stdout!).on('line', line => {
      const [, deleted, address] = /^(Deleted )?.*inet6? (\S+200\/\d+)/.exec(line) ?? []
      if (address) changes.push(`${deleted ? 'deleted' : 'there'} ${address}`)
    })
    const clients = ['192.0.2.200', '2001:db8::200'].map(to => echoes(third, to))
    await until(async () => clients.every(client => client.numbers.length > 5), 'no echo')

    const changed = [
      { address: v4.address, prefix: 25 },
      { address: v6.address, prefix: 80 },
    ]
    await member.ask(`configure ${asked(...changed)}`, 'configured')
    const there = await a.addresses()
    expect(there).toEqual(expect.arrayContaining(['192.0.2.200/25', '2001:db8::200/80']))
    expect(await hasNone(a)).toBe(true)
    await member.ask(`configure ${asked(...both)}`, 'configured')
    expect(await hasBoth(a)).toBe(true)

    const marks = clients.map(client => client.numbers.length)
    await until(
      async () => clients.every((client, index) => client.numbers.length > marks[index]! + 10),
      () => `the connections stand still: ${clients.map(client => client.numbers.at(-1))}`,
    )
    for (const { numbers, ended } of clients) {
      expect(ended(), 'the connection').toBe(undefined)
      expect(numbers).toEqual(numbers.map((_, index) => index))
    }
    const steps = changes.filter(change => change.includes('192.0.2.200'))
    const firstDeleted = steps.indexOf('deleted 192.0.2.200/24')
    expect(firstDeleted, steps.join(', ')).toBeGreaterThan(steps.indexOf('there 192.0.2.200/25'))
    expect(firstDeleted).toBeGreaterThan(0)
  })

  test('lose no datagram when they are handed over', async () => {
    const first = await network.member(a, { connection: virtualIp(...both), peerMacs: [b.mac] })
    const second = await network.member(b, { connection: virtualIp(...both), peerMacs: [a.mac] })
    await first.ask(`take 1 ${holdMs}`, 'taken')
    const receivers = [a, b].map(collect)
    await Promise.all(receivers.map(({ said }) => said()))
    const sender = count(third)
    await until(async () => (await sender.said('count')) > 300, 'nothing is sent')
    await first.ask('drop', 'dropped')
    await second.ask(`take 2 ${holdMs}`, 'taken')
    const taken = await sender.said('count')
    await until(async () => (await sender.said('count')) > taken + 500, 'the sender stands still')
    const sent = await sender.said('stop')
    const atFirst = await receivers[0]!.said('tell')
    const atSecond = await receivers[1]!.said('tell')
    for (const family of ['IPv4', 'IPv6'] as const) {
      const came = new Set([...atFirst[family], ...atSecond[family]])
      expect(atSecond[family].length, `${family} at the new one`).toBeGreaterThan(300)
      const lost = Array.from({ length: sent }, (_, number) => number).filter(n => !came.has(n))
      expect(lost, `of ${sent} over ${family}`).toEqual([])
    }
  })

  test('are added, removed and explained on the fly', async () => {
    const member = await network.member(a, { connection: virtualIp(v4) })
    await member.ask(`take 1 ${holdMs}`, 'taken')
    const elsewhere = { address: '198.51.100.1', prefix: 24 }
    await member.ask(`configure ${asked(v6, elsewhere)}`, 'configured')
    await until(async () => (await a.addresses()).includes('2001:db8::200/64'), 'not added')
    expect(await a.addresses()).not.toContain('192.0.2.200/24')
    expect(await faultOf(member)).toContain('no interface is in the network of 198.51.100.1')
    expect(await faultOf(member)).toContain(`eth0 (${a.v4}/24 ${a.v6}/64)`)
    const { ms } = await member.ask('drop', 'dropped')
    console.log(`drop: ${ms} ms`)
    expect(await hasNone(a)).toBe(true)
    // The server's own address is neither taken nor touched.
    await member.ask(`configure ${asked({ address: a.v4, prefix: 24 })}`, 'configured')
    await member.ask(`take 2 ${holdMs}`, 'taken')
    expect(await faultOf(member)).toContain('that this server has for itself')
    await member.ask('drop', 'dropped')
    expect(await a.addresses()).toContain(`${a.v4}/24`)
  })

  test('work without the programs that announce them, which are named', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'keepwatch-path-'))
    try {
      // Other programs of the same names come first, as if these were not installed.
      for (const name of ['arping', 'ndptool', 'ndisc6']) {
        await writeFile(join(folder, name), `#!/bin/sh\necho "${name} is broken" >&2\nexit 127\n`)
        await chmod(join(folder, name), 0o755)
      }
      await symlink(execFileSync('which', ['ip'], { encoding: 'utf8' }).trim(), join(folder, 'ip'))
      const member = await network.member(a, { connection: virtualIp(...both), path: folder })
      await member.ask(`take 1 ${holdMs}`, 'taken')
      // A take is over after a second, whether it has succeeded or not.
      await until(() => hasBoth(a), 'it has not got both')
      // Each family is announced at its own time.
      await until(async () => {
        const said = await faultOf(member)
        return said.includes('192.0.2.200 is not announced: arping') && said.includes('ndptool')
      }, 'nobody says what is missing')
      await member.kill()
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})

/** Sends a number each 50 ms on one connection, and hears them back. */
function echoes(from: Host, to: string) {
  const child = from.spawn(
    process.execPath,
    '-e',
    `let number = 0
     const socket = require('node:net').connect(9998, '${to}', () => {
       setInterval(() => socket.write(number++ + '\\n'), 50)
     })
     socket.on('data', data => process.stdout.write(data))
     socket.on('error', error => console.log('end ' + error.message))
     socket.on('close', () => console.log('end closed'))`,
  )
  const numbers: number[] = []
  let end: string | undefined
  createInterface(child.stdout!).on('line', line => {
    if (line.startsWith('end')) end ??= line
    else numbers.push(Number(line))
  })
  return { numbers, ended: () => end }
}

/** Sends numbers to both addresses, one a millisecond; says how many when asked. */
function count(from: Host) {
  return asking<number>(
    from,
    `let number = 0
     const sockets = [['udp4', '192.0.2.200'], ['udp6', '2001:db8::200']].map(([type, to]) => {
       const socket = require('node:dgram').createSocket(type).on('error', () => {})
       return () => socket.send(String(number), 9997, to)
     })
     const timer = setInterval(() => {
       for (const send of sockets) send()
       number++
     }, 1)
     on('count', () => say(number))
     on('stop', () => {
       clearInterval(timer)
       setTimeout(() => say(number), 500)
     })`,
  )
}

/** Receives them; says which when asked. */
function collect(host: Host) {
  return asking<Record<'IPv4' | 'IPv6', number[]>>(
    host,
    `const came = { IPv4: [], IPv6: [] }
     const socket = require('node:dgram').createSocket('udp6')
     socket.on('message', (data, { address }) =>
       came[address.startsWith('::ffff:') ? 'IPv4' : 'IPv6'].push(Number(data)))
     socket.bind(9997, () => say(came))
     on('tell', () => say(came))`,
  )
}

/** A program of the host that answers each line with a line of JSON. */
function asking<T>(host: Host, program: string) {
  const child = host.spawn(
    process.execPath,
    '-e',
    `const handlers = {}
     const on = (line, handler) => (handlers[line] = handler)
     const say = value => console.log(JSON.stringify(value))
     require('node:readline').createInterface(process.stdin).on('line', line => handlers[line]())
     ${program}`,
  )
  const answers = createInterface(child.stdout!)[Symbol.asyncIterator]()
  return {
    async said(line?: string): Promise<T> {
      if (line !== undefined) child.stdin!.write(`${line}\n`)
      return JSON.parse((await answers.next()).value ?? 'null')
    },
  }
}

/** The state of a process as its letter in /proc: T is stopped. */
function stateOf(pid: number): string {
  return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]![0]!
}
