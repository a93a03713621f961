/** Devices on this machine: each sends from an address of its own in 127.0.0.0/8. */
import { createSocket, type Socket } from 'node:dgram'
import { connect } from 'node:net'

export interface Devices {
  /** Resolves when the kernel has it. */
  send(from: string, bytes: Uint8Array | string, port: number): Promise<void>
  close(): Promise<void>
}

export function createDevices(): Devices {
  const sockets = new Map<string, Promise<Socket>>()

  function socketOf(address: string): Promise<Socket> {
    let opened = sockets.get(address)
    if (opened === undefined) {
      opened = new Promise((resolve, reject) => {
        const socket = createSocket('udp4')
        socket.once('error', reject)
        socket.bind(0, address, () => {
          socket.off('error', reject)
          // A port that is closed says so to whoever sent there; that is not the device's trouble.
          socket.on('error', () => {})
          resolve(socket)
        })
      })
      sockets.set(address, opened)
    }
    return opened
  }

  return {
    async send(from, bytes, port) {
      const socket = await socketOf(from)
      await new Promise<void>(resolve => socket.send(bytes, port, '127.0.0.1', () => resolve()))
    },
    async close() {
      for (const opened of sockets.values()) {
        const socket = await opened
        await new Promise<void>(resolve => socket.close(() => resolve()))
      }
    },
  }
}

/** Sends all of it over one TCP connection and closes; resolves when the other side has closed too. */
export function stream(from: string, bytes: Uint8Array | string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, localAddress: from })
    socket.on('error', reject)
    socket.on('close', () => resolve())
    socket.end(bytes)
    socket.resume()
  })
}
