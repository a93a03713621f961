import { createSocket } from 'node:dgram'
import { afterEach, describe, expect, test } from 'vitest'
import { systemClock } from '../lib/clock.ts'
import { createLog } from '../lib/log.ts'
import { createFlowSockets, type FlowDatagram, type FlowSockets } from './flow-sockets.ts'
import { ListenError } from './listen.ts'
import { loadSockets } from './sockets.ts'

const sockets = loadSockets()
const title =
  sockets === undefined
    ? 'sockets read by a thread (skipped: no Linux)'
    : 'sockets read by a thread'
const log = createLog({ level: 'silent', part: 'test' })

describe.skipIf(sockets === undefined)(title, () => {
  const open: FlowSockets[] = []
  const senders = { udp4: createSocket('udp4'), udp6: createSocket('udp6') }
  afterEach(async () => {
    for (const one of open.splice(0)) await one.stop()
  })

  async function listen(
    configs: { name: 'netflow' | 'sflow'; address: string; port: number }[],
    onDatagram: (datagram: FlowDatagram) => void = () => {},
  ) {
    const bufferBytes = 4 * 1024 * 1024
    const made = createFlowSockets(
      { sockets: sockets!, log, clock: systemClock },
      configs.map(config => ({ ...config, bufferBytes })),
      onDatagram,
    )
    open.push(made)
    await made.start()
    return made
  }

  const send = (bytes: Uint8Array, port: number, address = '127.0.0.1') =>
    new Promise<void>((resolve, reject) => {
      senders[address.includes(':') ? 'udp6' : 'udp4'].send(bytes, port, address, error =>
        error ? reject(error) : resolve(),
      )
    })

  async function until(holds: () => boolean, evidence: () => unknown) {
    const deadline = performance.now() + 10_000
    while (!holds()) {
      if (performance.now() > deadline) throw new Error(JSON.stringify(evidence()))
      await new Promise(resolve => setTimeout(resolve, 5))
    }
  }

  test('bring datagrams of any size, of both families, with who sent them', async () => {
    const came: string[] = []
    const { listeners } = await listen(
      [
        { name: 'netflow', address: '', port: 0 },
        { name: 'sflow', address: '127.0.0.1', port: 0 },
      ],
      ({ listener, bytes, address, port, received }) => {
        const whole = bytes.every(byte => byte === (bytes.length & 0xff))
        const own = [senders.udp4, senders.udp6].some(sender => sender.address().port === port)
        const now = Math.abs(Date.now() - received) < 60_000
        came.push([listener, address, bytes.length, whole && own && now].join(' '))
      },
    )
    const [netflow, sflow] = listeners
    const sizes = [0, 1, 1464, 2047, 2048, 2049, 9000, 65_507]
    for (const size of sizes) {
      const bytes = Buffer.alloc(size, size & 0xff)
      await send(bytes, netflow!.port)
      await send(bytes, netflow!.port, '::1')
      await send(bytes, sflow!.port)
    }
    await until(
      () => came.length === 3 * sizes.length,
      () => came,
    )
    const expected = sizes.flatMap(size => [
      `netflow 127.0.0.1 ${size} true`,
      `netflow ::1 ${size} true`,
      `sflow 127.0.0.1 ${size} true`,
    ])
    expect(came.toSorted()).toEqual(expected.toSorted())
    const bytes = sizes.reduce((sum, size) => sum + size, 0)
    expect(netflow!.state()).toMatchObject({ datagrams: 2 * sizes.length, bytes: 2 * bytes })
    expect(sflow!.state()).toMatchObject({ address: '127.0.0.1', datagrams: 8, kernelDrops: 0 })
  })

  test('bring all of a long run in its order, also while somebody is busy', async () => {
    const numbers: number[] = []
    const { listeners } = await listen([{ name: 'netflow', address: '', port: 0 }], ({ bytes }) => {
      numbers.push((bytes[0]! << 16) | (bytes[1]! << 8) | bytes[2]!)
    })
    const count = 20_000
    const all = (sent: number) =>
      until(
        () => numbers.length === sent,
        () => [numbers.length, sent, listeners[0]!.state()],
      )
    for (let number = 0; number < count; number++) {
      const bytes = Buffer.alloc(number % 1000 === 999 ? 3000 : 200)
      bytes.writeUIntBE(number, 0, 3)
      await send(bytes, listeners[0]!.port)
      if (number % 4000 === 0) {
        const busyUntil = performance.now() + 20
        while (performance.now() < busyUntil);
      }
      // No more than the kernel's buffer holds, whatever else the machine is doing.
      if (number % 4000 === 3999) await all(number + 1)
    }
    expect(numbers).toEqual(Array.from({ length: count }, (_, number) => number))
  })

  test('bring what they had received before they are stopped', async () => {
    let came = 0
    const made = await listen([{ name: 'netflow', address: '', port: 0 }], () => came++)
    for (let i = 0; i < 500; i++) await send(Buffer.alloc(100), made.listeners[0]!.port)
    await until(
      () => came > 0,
      () => came,
    )
    await made.stop()
    expect(came).toBe(500)
    await made.stop()
  })

  test('tell the senders of either family, whose datagrams come after each other', async () => {
    const came: string[] = []
    const { listeners } = await listen(
      [
        { name: 'netflow', address: '::1', port: 0 },
        { name: 'sflow', address: '127.0.0.1', port: 0 },
      ],
      ({ listener, address }) => came.push(`${listener} ${address}`),
    )
    for (let i = 0; i < 50; i++) {
      await send(Buffer.alloc(1), listeners[1]!.port)
      await send(Buffer.alloc(1), listeners[0]!.port, '::1')
      await until(
        () => came.length === 2 * (i + 1),
        () => came,
      )
    }
    expect(new Set(came)).toEqual(new Set(['netflow ::1', 'sflow 127.0.0.1']))
  })

  test('say which port is taken', async () => {
    const first = await listen([{ name: 'netflow', address: '127.0.0.1', port: 0 }])
    const { port } = first.listeners[0]!
    const second = listen([{ name: 'sflow', address: '127.0.0.1', port }])
    await expect(second).rejects.toThrow(ListenError)
    await expect(second).rejects.toThrow(`UDP port ${port} (listen.sflow) is taken`)
  })

  test('can be started again, at the same port', async () => {
    let came = 0
    const made = await listen([{ name: 'netflow', address: '', port: 0 }], () => came++)
    const { port } = made.listeners[0]!
    await made.stop()
    await made.start()
    expect(made.listeners[0]!.port).toBe(port)
    await send(Buffer.alloc(1), port)
    await until(
      () => came === 1,
      () => came,
    )
  })
})
