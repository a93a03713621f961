/** Stands before a mail server, and does to its clients what networks do. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export type Fault =
  | 'none'
  /** Nobody listens. */
  | 'away'
  /** Takes the connection and says nothing. */
  | 'mute'
  /** The connection breaks while the contents are on their way. */
  | 'cut-before-end'
  /** The server has the whole message, and its answer is lost. */
  | 'cut-after-end'

export interface SmtpProxy {
  port: number
  /** Of the connections from now on. */
  fault: Fault
  /** Each piece is passed on so much later. */
  delayMs: number
  /** While set, the word that asks for the contents (354) is kept back. */
  holdContents: boolean
  /** How often the word was kept back. */
  held: number
  /** How many there were so far. */
  connections: number
  /** How many messages went through to their end. */
  ends: number
  /** Lets through what was kept back. */
  letGo(): void
  stop(): Promise<void>
}

const endOfData = '\r\n.\r\n'

export async function startSmtpProxy(target: { port: number }): Promise<SmtpProxy> {
  const sockets = new Set<Socket>()
  const keptBack: (() => void)[] = []

  const server = createServer(client => {
    const fault = proxy.fault
    proxy.connections++
    sockets.add(client)
    client.on('close', () => sockets.delete(client))
    client.on('error', () => {})
    if (fault === 'away') {
      client.destroy()
      return
    }
    if (fault === 'mute') return
    const upstream = connect(target.port, '127.0.0.1')
    sockets.add(upstream)
    const end = () => {
      client.destroy()
      upstream.destroy()
    }
    upstream.on('error', end)
    upstream.on('close', () => {
      sockets.delete(upstream)
      end()
    })
    client.on('close', end)
    let inContents = false
    let ended = false
    let tail = ''
    const pass = (to: Socket, data: Buffer) => {
      if (proxy.delayMs === 0) to.write(data)
      else setTimeout(() => to.destroyed || to.write(data), proxy.delayMs)
    }
    client.on('data', data => {
      if (inContents) {
        if (fault === 'cut-before-end') {
          end()
          return
        }
        tail = (tail + data.toString('latin1')).slice(-endOfData.length)
        if (tail === endOfData) {
          inContents = false
          ended = true
          proxy.ends++
        }
      }
      pass(upstream, data)
    })
    upstream.on('data', data => {
      if (ended && fault === 'cut-after-end') {
        end()
        return
      }
      ended = false
      const asksForContents = data.toString('latin1').startsWith('354')
      if (asksForContents) {
        inContents = true
        tail = ''
      }
      if (asksForContents && proxy.holdContents) {
        proxy.held++
        keptBack.push(() => client.destroyed || client.write(data))
      } else pass(client, data)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const proxy: SmtpProxy = {
    port: (server.address() as AddressInfo).port,
    fault: 'none',
    delayMs: 0,
    holdContents: false,
    held: 0,
    connections: 0,
    ends: 0,
    letGo() {
      proxy.holdContents = false
      for (const pass of keptBack.splice(0)) pass()
    },
    async stop() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
  return proxy
}
