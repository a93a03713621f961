/** How a command reaches a server: by the socket of this machine, or by an address and a token. */
import { existsSync, readFileSync } from 'node:fs'
import { type ClientRequest, request as httpRequest, type RequestOptions } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { userInfo } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { type Endpoint, type ErrorCode, errorBody } from '../api/contract/endpoint.ts'
import { type Answer, basePath } from '../api/contract/index.ts'
import { controlSocket, controlUser, withSocket } from '../api/control.ts'
import { readPairFile } from '../apps/pair/pair-file.ts'
import { readServer } from '../apps/setup/init.ts'
import { defaultSettingsFile } from '../apps/setup/layout.ts'

export interface TargetOptions {
  settings?: string
  data?: string
  server?: string[]
  tokenFile?: string
  ca?: string
}

/** For every command that talks to a running server. */
export function withTarget(command: Command): Command {
  return command
    .option(
      '--settings <file>',
      `settings file of a server on this machine (default ${defaultSettingsFile})`,
    )
    .option('--data <folder>', 'folder of a deployment on this machine that `keepwatch pair` runs')
    .option('--server <url...>', 'console addresses of the servers, from another machine')
    .option('--token-file <file>', 'with --server: file with an API token')
    .option('--ca <file>', 'with --server: certificate of the authority that the consoles have')
}

/** Asks the servers that there are, one after the other, until one answers. */
export interface Client {
  /** @throws ServerError if it says no, Unreachable if no server answers */
  call<E extends Endpoint>(
    endpoint: E,
    input?: { params?: Record<string, string>; query?: Record<string, string>; body?: object },
  ): Promise<Answer<E>>
}

/** A server's answer that is not a success. */
export class ServerError extends Error {
  override name = 'ServerError'
  readonly code: ErrorCode
  readonly active: string | null | undefined
  constructor(code: ErrorCode, message: string, active: string | null | undefined) {
    super(message)
    this.code = code
    this.active = active
  }
}

export class Unreachable extends Error {
  override name = 'Unreachable'
}

interface Target {
  what: string
  send(method: string, path: string, body: string | undefined): Promise<Reply>
}

interface Reply {
  status: number
  text: string
}

const deadlineMs = 70_000

/** @throws Error that says which option would be right */
export function openClient(options: TargetOptions): Client {
  const targets = targetsOf(options)
  const follow = (url: string) => byUrl(url, ...credentialsOf(options))
  return {
    async call(endpoint, { params = {}, query = {}, body } = {}) {
      const filled = endpoint.path.replaceAll(/:(\w+)/g, (_, name) =>
        encodeURIComponent(params[name] ?? ''),
      )
      const search = new URLSearchParams(query).toString()
      const path = basePath + filled + (search === '' ? '' : `?${search}`)
      const text = body === undefined ? undefined : JSON.stringify(body)
      const failures: string[] = []
      let stood: ServerError | undefined
      for (const target of targets) {
        let reply: Reply
        try {
          reply = await target.send(endpoint.method, path, text)
        } catch (error) {
          const { code, message } = error as NodeJS.ErrnoException
          failures.push(`${target.what}: ${reasons[code ?? ''] ?? message}`)
          continue
        }
        if (reply.status === 200) return endpoint.response.parse(JSON.parse(reply.text)) as never
        const error = errorOf(reply, target.what)
        if (error.code !== 'not-active') throw error
        stood = error
        const { active } = error
        if (options.server && active && !targets.some(({ what }) => what === active)) {
          targets.push(follow(active))
        }
      }
      if (stood) throw stood
      throw new Unreachable(`no server answers:\n  ${failures.join('\n  ')}`)
    },
  }
}

const reasons: Record<string, string> = {
  ENOENT: 'there is none; is the server running?',
  ECONNREFUSED: 'nobody listens; is the server running?',
  EACCES: 'not allowed to this user; run it as the one that the server runs as, or as root',
}

function errorOf({ status, text }: Reply, what: string): ServerError {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    throw new Error(`${what} is no Keepwatch server: it answered ${status}`)
  }
  const { error } = errorBody.parse(parsed)
  return new ServerError(error.code, error.message, error.active)
}

function targetsOf(options: TargetOptions): Target[] {
  const { server, data, settings } = options
  if (server) {
    const credentials = credentialsOf(options)
    return server.map(url => byUrl(url.replace(/\/+$/, ''), ...credentials))
  }
  if (data !== undefined) return ofDeployment(data)
  const file = settings ?? defaultSettingsFile
  if (settings === undefined && !existsSync(file) && existsSync(join('data', 'pair.json'))) {
    return ofDeployment('data')
  }
  if (!existsSync(file)) {
    throw new Error(
      `there is no ${file}: name the settings file of the server with --settings, the folder of a deployment with --data, or an address with --server`,
    )
  }
  const { dataDir } = readServer(file)
  return [bySocket(join(resolve(dirname(file), dataDir), controlSocket))]
}

function credentialsOf({ tokenFile, ca }: TargetOptions): [token: string, ca: string | undefined] {
  if (!tokenFile) throw new Error('--server needs --token-file with an API token')
  const token = readFileSync(tokenFile, 'utf8').trim()
  return [token, ca === undefined ? undefined : readFileSync(ca, 'utf8')]
}

function ofDeployment(data: string): Target[] {
  const pair = existsSync(data) ? readPairFile(data) : undefined
  if (!pair) throw new Error(`there is no deployment in ${data}; name its folder with --data`)
  return pair.servers.map(({ name }) => bySocket(join(resolve(data), name, controlSocket)))
}

function bySocket(path: string): Target {
  const headers = { [controlUser]: process.env.SUDO_USER ?? userInfo().username }
  return {
    what: path,
    send: (method, url, body) =>
      withSocket(path, socketPath =>
        exchange(
          options => httpRequest({ ...options, socketPath, path: url }),
          method,
          body,
          headers,
        ),
      ),
  }
}

function byUrl(base: string, token: string, ca: string | undefined): Target {
  const headers = { authorization: `Bearer ${token}` }
  const secure = base.startsWith('https:')
  return {
    what: base,
    send: (method, url, body) =>
      exchange(
        options => {
          const all = { ...options, ...(ca === undefined ? {} : { ca }) }
          return secure ? httpsRequest(base + url, all) : httpRequest(base + url, all)
        },
        method,
        body,
        headers,
      ),
  }
}

function exchange(
  open: (options: RequestOptions) => ClientRequest,
  method: string,
  body: string | undefined,
  headers: Record<string, string>,
): Promise<Reply> {
  return new Promise((done, failed) => {
    const asking = open({
      method,
      agent: false,
      headers: {
        ...headers,
        ...(body === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
      },
      signal: AbortSignal.timeout(deadlineMs),
    })
    asking.on('error', failed)
    asking.on('response', response => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
      })
      response.on('error', failed)
      response.on('end', () => done({ status: response.statusCode!, text }))
    })
    asking.end(body)
  })
}
