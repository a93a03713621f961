/** The link between two servers, as much of it as routes need, and roots of files. */
import { hash } from 'node:crypto'
import { chmodSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import type { LinkRoute } from '../../src/collect/link.ts'
import type { Identity } from '../../src/lib/tls.ts'
import { filesUnder } from './folder-lab.ts'

/** Serves routes as the link does; what one throws is an answer of 500. */
export async function serveRoutes(
  identity: Identity,
  routes: () => readonly LinkRoute[],
): Promise<{ port: number; close(): Promise<void>; requests: string[] }> {
  const requests: string[] = []
  const server = createServer(
    { ...identity, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' },
    (request, response) => {
      const { method = '', url = '' } = request
      requests.push(`${method} ${url}`)
      const name = String((request.socket as TLSSocket).getPeerCertificate().subject.CN)
      const route = routes().find(one => one.method === method && url.startsWith(one.prefix))
      const answered = route?.answer(request, response, { role: 'server', name })
      if (answered === undefined) return void response.writeHead(404).end()
      answered.catch(error => {
        if (response.headersSent) response.destroy()
        else response.writeHead(500).end(String(error))
      })
    },
  )
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    requests,
    port: (server.address() as AddressInfo).port,
    async close() {
      server.closeAllConnections()
      await new Promise<void>(resolve => server.close(() => resolve()))
    },
  }
}

export function write(root: string, path: string, content: string | Buffer, mode = 0o640) {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), content)
  chmodSync(join(root, path), mode)
}

/** Permissions and contents (of long ones the hash) of everything under a root, but for what is on its way. */
export function contentsOf(root: string): Record<string, string> {
  return Object.fromEntries(
    filesUnder(root)
      .filter(path => !path.startsWith('.keepwatch-incoming'))
      .map(path => {
        const mode = (lstatSync(join(root, path)).mode & 0o777).toString(8)
        const content = readFileSync(join(root, path), 'latin1')
        const short = content.length < 100 ? content : hash('sha256', content)
        return [path, `${mode} ${short}`]
      }),
  )
}
