/** How this part answers on the link; what the receiver takes as a route has this form. */
import type { IncomingMessage, ServerResponse } from 'node:http'

export interface Route {
  method: 'GET' | 'PUT' | 'POST'
  prefix: string
  role: 'server' | 'collector'
  answer(
    request: IncomingMessage,
    response: ServerResponse,
    from: { role: 'server' | 'collector'; name: string },
  ): Promise<void>
}

/** An answer other than 200; the message says what would be right. */
export class RouteRefusal extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

export function sendJson(response: ServerResponse, status: number, body: object): void {
  const bytes = Buffer.from(JSON.stringify(body))
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': bytes.length,
  })
  response.end(bytes)
}

/** Answers, or says why not. */
export async function answering(
  response: ServerResponse,
  answer: () => Promise<void>,
): Promise<void> {
  try {
    await answer()
  } catch (error) {
    if (!(error instanceof RouteRefusal)) throw error
    if (response.headersSent) response.destroy()
    else sendJson(response, error.status, { error: { message: error.message } })
  }
}

export async function readBody(request: IncomingMessage, most: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    size += (chunk as Buffer).length
    if (size > most) throw new RouteRefusal(413, `a body has at most ${most} bytes`)
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}
