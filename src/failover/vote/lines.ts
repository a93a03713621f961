/** JSON, a value a line, over a connection. */
import type { Duplex } from 'node:stream'
import { maxLineBytes } from './words.ts'

/**
 * Hands on each line as what it says, or as undefined where that is no JSON. A line that is too long
 * ends the connection.
 *
 * @param head what came before anybody listened
 */
export function eachLine(socket: Duplex, head: Buffer, hear: (said: unknown) => void): void {
  let rest = ''
  const take = (chunk: Buffer) => {
    const parts = (rest + chunk.toString('utf8')).split('\n')
    rest = parts.pop()!
    for (const part of parts) if (!socket.destroyed) hear(parsed(part))
    if (rest.length > maxLineBytes) socket.destroy()
  }
  socket.on('data', take)
  if (head.length > 0) take(head)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
