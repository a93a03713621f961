/** A TCP proxy that a test can cut. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface Proxy {
  port: number
  /** Cuts all connections, and refuses new ones until `mend`. */
  cut(): void
  mend(): void
  /** Passes nothing on any more, and says nothing of it, until `mend`. */
  freeze(): void
  /** Cuts a connection when the server answers the first data that contains this. */
  cutAtAnswerTo(text: string): void
  stop(): Promise<void>
}

export async function startProxy(target: { host: string; port: number }): Promise<Proxy> {
  const sockets = new Set<Socket>()
  let refused = false
  let frozen = false
  let trap: string | undefined
  const server = createServer(client => {
    if (refused) {
      client.destroy()
      return
    }
    let sprung = false
    const upstream = connect(target)
    const end = () => {
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      if (frozen) socket.pause()
      socket.on('error', end)
      socket.on('close', () => {
        sockets.delete(socket)
        end()
      })
    }
    client.on('data', data => {
      if (trap !== undefined && data.includes(trap)) {
        sprung = true
        trap = undefined
      }
      upstream.write(data)
    })
    upstream.on('data', data => {
      if (sprung) end()
      else client.write(data)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    cut() {
      refused = true
      for (const socket of sockets) socket.destroy()
    },
    freeze() {
      frozen = true
      for (const socket of sockets) socket.pause()
    },
    mend() {
      refused = false
      frozen = false
      for (const socket of sockets) socket.resume()
    },
    cutAtAnswerTo(text) {
      trap = text
    },
    async stop() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
