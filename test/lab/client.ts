/** HTTPS from the tests to a server of the lab, over connections that stay open. */
import { Agent, request } from 'node:https'

export interface Answer {
  status: number
  body: unknown
}

export interface Client {
  /** @throws if there is no answer in time */
  ask(
    path: string,
    options?: { method?: string; body?: object; deadlineMs?: number },
  ): Promise<Answer>
  close(): void
}

const defaultDeadlineMs = 5000

export function createClient(options: {
  address: string
  /** Whose certificate is demanded. */
  name: string
  ca: string
  token: string
}): Client {
  const agent = new Agent({ keepAlive: true, maxSockets: 8 })
  return {
    ask: (path, { method = 'GET', body, deadlineMs = defaultDeadlineMs } = {}) =>
      new Promise((resolve, reject) => {
        const text = body && JSON.stringify(body)
        const asked = request(
          {
            agent,
            host: options.address,
            port: 443,
            servername: options.name,
            ca: options.ca,
            path,
            method,
            headers: {
              authorization: `Bearer ${options.token}`,
              ...(text
                ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
                : {}),
            },
          },
          response => {
            let said = ''
            response.setEncoding('utf8')
            response.on('data', data => {
              said += data
            })
            response.on('error', fail)
            response.on('end', () => {
              clearTimeout(timer)
              try {
                resolve({
                  status: response.statusCode!,
                  body: said === '' ? undefined : JSON.parse(said),
                })
              } catch {
                resolve({ status: response.statusCode!, body: said })
              }
            })
          },
        )
        // A deadline for all of it, also for a connection that nobody takes.
        const timer = setTimeout(
          () => asked.destroy(new Error(`no answer to ${path} within ${deadlineMs} ms`)),
          deadlineMs,
        )
        function fail(error: Error) {
          clearTimeout(timer)
          reject(error)
        }
        asked.on('error', fail)
        asked.end(text)
      }),
    close: () => agent.destroy(),
  }
}
