import type { Server, Socket } from 'node:net'

export interface Connections {
  /** Ends all of them, and at once who comes after. */
  cut(): void
}

/**
 * The connections of a server, from the first packet on: those that are no request yet, or are no
 * longer one, a handshake or a stream, keep a server from closing, and no server of Node's counts them.
 */
export function trackConnections(server: Server): Connections {
  const sockets = new Set<Socket>()
  let cutting = false
  server.on('connection', socket => {
    // The port may still be open for a moment.
    if (cutting) return void socket.destroy()
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return {
    cut() {
      cutting = true
      for (const socket of sockets) socket.destroy()
    },
  }
}
