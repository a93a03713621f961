import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { createLog } from '../lib/log.ts'
import { formatAddress } from '../telemetry/address.ts'
import { findDrops } from './kernel-drops.ts'
import {
  createSenderCache,
  createTcpListener,
  createUdpListener,
  ListenError,
  type Listener,
  type UdpListener,
} from './listen.ts'

const log = createLog({ level: 'silent', part: 'test' })
const open: Listener[] = []
afterEach(async () => {
  for (const listener of open.splice(0)) await listener.stop()
})
async function started<L extends Listener>(listener: L): Promise<L> {
  await listener.start()
  open.push(listener)
  return listener
}

function send(port: number, host: string, text: string) {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  return new Promise<void>((resolve, reject) =>
    socket.send(text, port, host, error => {
      socket.close()
      if (error) reject(error)
      else resolve()
    }),
  )
}

const udp = { name: 'syslog_udp', address: '', port: 0, bufferBytes: 65_536 } as const

describe('a UDP listener', () => {
  test('hears IPv4 and IPv6 on one port, and says which', async () => {
    const heard: string[] = []
    const sender = createSenderCache()
    const listener = await started(
      createUdpListener({ log }, udp, (bytes, from) =>
        heard.push(`${formatAddress(sender(from.address))} ${bytes}`),
      ),
    )
    expect(listener.port).toBeGreaterThan(0)
    await send(listener.port, '127.0.0.1', 'four')
    if (listener.state().address === '::') await send(listener.port, '::1', 'six')
    const expected =
      listener.state().address === '::' ? ['127.0.0.1 four', '::1 six'] : ['127.0.0.1 four']
    await vi.waitFor(() => expect(heard.sort()).toEqual(expected))
    expect(listener.state()).toMatchObject({ datagrams: expected.length, buffer: 65_536 })
  })

  test('answers from the port that it listens at', async () => {
    const listener = await started(
      createUdpListener({ log }, udp, (bytes, from) =>
        listener.reply(bytes, from.address, from.port),
      ),
    )
    const client = createSocket('udp4')
    const answer = new Promise(resolve =>
      client.on('message', (message, from) => resolve(`${message} ${from.port}`)),
    )
    client.send('inform', listener.port, '127.0.0.1')
    expect(await answer).toBe(`inform ${listener.port}`)
    client.close()
  })

  test.skipIf(process.platform !== 'linux')(
    'answers from the address that was asked while that has a socket of its own',
    async () => {
      const listener: UdpListener = await started(
        createUdpListener({ log }, { ...udp, answers: true }, (bytes, from, at) =>
          listener.reply(bytes, from.address, from.port, at),
        ),
      )
      const client = createSocket('udp4')
      const answers: string[] = []
      client.on('message', (_, from) => answers.push(from.address))
      const answeredFrom = async () => {
        answers.length = 0
        client.send('inform', listener.port, '127.0.0.2')
        await vi.waitFor(() => expect(answers).toHaveLength(1))
        return answers[0]
      }
      expect(await answeredFrom()).toBe('127.0.0.1')
      // One that this host does not have, as when the address has just moved away, harms nobody.
      listener.setAnswering(['127.0.0.2', '192.0.2.1'])
      await vi.waitFor(async () => expect(await answeredFrom()).toBe('127.0.0.2'))
      listener.setAnswering([])
      expect(await answeredFrom()).toBe('127.0.0.1')
      client.close()
    },
  )

  test('lets no second listener have a port whose addresses have sockets of their own', async () => {
    const first = await started(createUdpListener({ log }, { ...udp, answers: true }, () => {}))
    const again = { ...udp, port: first.port, answers: true }
    const second = createUdpListener({ log }, again, () => {})
    await expect(second.start()).rejects.toThrow(
      `UDP port ${first.port} (listen.syslog_udp) is taken`,
    )
  })

  test('names the port, who may hold it and what to set when it is taken', async () => {
    const first = await started(createUdpListener({ log }, udp, () => {}))
    const second = createUdpListener({ log }, { ...udp, port: first.port }, () => {})
    const error = await second.start().catch(error => error)
    expect(error).toBeInstanceOf(ListenError)
    expect(error.message).toContain(`UDP port ${first.port} (listen.syslog_udp) is taken`)
    expect(error.message).toMatch(/rsyslogd.*set listen\.syslog_udp to another port/)
    await second.stop()
  })

  test.skipIf(!existsSync('/proc/net/udp'))('counts what the kernel dropped', async () => {
    const listener = await started(
      createUdpListener({ log }, { ...udp, address: '127.0.0.1', bufferBytes: 4096 }, () => {}),
    )
    expect(listener.state().kernelDrops).toBe(0)
    const socket = createSocket('udp4')
    await new Promise<void>(resolve => socket.connect(listener.port, '127.0.0.1', resolve))
    // Sends go out at once while the listener, in this thread, cannot read.
    const message = Buffer.alloc(1000)
    let sent = 0
    await new Promise<void>(resolve => {
      for (let i = 0; i < 200; i++) socket.send(message, () => ++sent === 200 && resolve())
    })
    await vi.waitFor(() => {
      const { datagrams, kernelDrops } = listener.state()
      expect(datagrams + kernelDrops!).toBe(200)
      expect(kernelDrops).toBeGreaterThan(0)
    })
    socket.close()
  })
})

describe('the kernel’s table of sockets', () => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 1999: 0100007F:D741 0100007F:0801 01 00000000:00000000 00:00000000 00000000     0        0 41211 2 0000000000000000 0
 2012: 0100007F:0801 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 41212 2 0000000000000000 3
 2013: 00000000:0801 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 41213 2 0000000000000000 4711
`
  test('is read by address and port', () => {
    expect(findDrops(table, '0.0.0.0', 2049)).toBe(4711)
    expect(findDrops(table, '127.0.0.1', 2049)).toBe(3)
    expect(findDrops(table, '127.0.0.1', 2050)).toBeNull()
  })
})

const onHandshakeFailed = () => {}

describe('a TCP listener', () => {
  test('stops reading while it is paused and goes on after', async () => {
    let received = 0
    const listener = await started(
      createTcpListener(
        { log, onRefused: () => {}, onDisplaced: () => {}, onHandshakeFailed },
        { name: 'syslog_tcp', address: '127.0.0.1', port: 0, maxConnections: 2, idleMs: 10_000 },
        () => ({
          push(bytes) {
            received += bytes.length
            return 0
          },
          end() {},
        }),
      ),
    )
    const client = connect(listener.port, '127.0.0.1')
    client.write('x')
    await vi.waitFor(() => expect(received).toBe(1))
    listener.pause()
    const total = 20_000_000
    client.write(Buffer.alloc(total))
    await new Promise(resolve => setTimeout(resolve, 100))
    expect(received).toBeLessThan(total)
    listener.resume()
    await vi.waitFor(() => expect(received).toBe(total + 1), { timeout: 5000 })
    client.destroy()
  })

  test('closes connections beyond its bound and says so', async () => {
    let refused = 0
    const listener = await started(
      createTcpListener(
        { log, onRefused: () => refused++, onDisplaced: () => {}, onHandshakeFailed },
        { name: 'syslog_tcp', address: '127.0.0.1', port: 0, maxConnections: 1, idleMs: 10_000 },
        () => ({ push: () => 0, end: () => {} }),
      ),
    )
    const clients = [0, 1].map(() => connect(listener.port, '127.0.0.1').on('error', () => {}))
    await vi.waitFor(() => expect(refused).toBe(1))
    for (const client of clients) client.destroy()
  })

  test('takes a place from the sender with the most for one who has none, the longest silent', async () => {
    let refused = 0
    let displaced = 0
    const heard: string[] = []
    const listener = await started(
      createTcpListener(
        { log, onRefused: () => refused++, onDisplaced: () => displaced++, onHandshakeFailed },
        { name: 'syslog_tcp', address: '127.0.0.1', port: 0, maxConnections: 3, idleMs: 10_000 },
        () => ({
          push(bytes) {
            heard.push(Buffer.from(bytes).toString())
            return 1
          },
          end: () => {},
        }),
      ),
    )
    const closed: string[] = []
    const open = async (name: string, localAddress: string) => {
      const client = connect({ host: '127.0.0.1', port: listener.port, localAddress })
      client.on('error', () => {}).on('close', () => closed.push(name))
      await once(client.resume(), 'connect')
      return client
    }
    const clients = [
      await open('first', '127.0.0.2'),
      await open('second', '127.0.0.2'),
      await open('third', '127.0.0.2'),
    ]
    clients[0]!.write('still here')
    await vi.waitFor(() => expect(heard).toEqual(['still here']))
    clients.push(await open('other', '127.0.0.3'))
    await vi.waitFor(() => expect(closed).toEqual(['second']))
    clients.push(await open('fourth', '127.0.0.2'))
    await vi.waitFor(() => expect(closed).toEqual(['second', 'fourth']))
    clients[3]!.write('and here')
    await vi.waitFor(() => expect(heard).toEqual(['still here', 'and here']))
    expect({ refused, displaced }).toEqual({ refused: 1, displaced: 1 })
    for (const client of clients) client.destroy()
  })
})

test('the same sender is the same sixteen bytes', () => {
  const sender = createSenderCache()
  expect(sender('::ffff:192.0.2.1')).toBe(sender('::ffff:192.0.2.1'))
  expect(sender('::ffff:192.0.2.1')).toEqual(sender('192.0.2.1'))
})
