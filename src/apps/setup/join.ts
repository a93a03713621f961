/** `keepwatch join`: makes this machine the second server of a pair. */
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { hostname } from 'node:os'
import { join as joinPath } from 'node:path'
import { z } from 'zod'
import { errorBody } from '../../api/contract/endpoint.ts'
import { basePath } from '../../api/contract/index.ts'
import { type JoinAnswer, type JoinRequest, joinAnswer } from '../../api/contract/setup.ts'
import { writeWhole } from '../../lib/files.ts'
import { type JoinToken, parseJoinToken, sealJoin, unsealJoin } from '../../lib/join-token.ts'
import { fingerprintOf, isIssuedBy, publicKeyOf } from '../../lib/tls.ts'
import { version } from '../../lib/version.ts'
import { rememberOther } from '../server/other-server.ts'
import type { serverSettings } from '../server/settings.ts'
import { ownAddresses, readServer, relativeTo, urlOf } from './init.ts'
import {
  keyIn,
  type Layout,
  layoutOf,
  makeFolders,
  ownDatabasePorts,
  writeSettings,
} from './layout.ts'
import { listenAt } from './listen-at.ts'

export interface JoinOptions {
  /** Console of the first server. */
  url: string
  token: string
  /** By default made of the host name. */
  name: string | undefined
  /** By default the one for which failover was enabled. */
  address: string | undefined
  data: string
  settings: string
  consoleHost: string | undefined
  consolePort: number | undefined
  linkPort: number | undefined
  /** False: without a collector inside, whatever the first has. */
  collector: boolean
}

export interface Joined {
  layout: Layout
  name: string
  /** The server that let it in; undefined where nothing was asked, because all was there. */
  primary: { name: string; linkHost: string; linkPort: number } | undefined
  url: string
}

const deadlineMs = 30_000
const mostBytes = 1_000_000
const redirects = 3

/**
 * May be repeated with the same token wherever it was interrupted: the keys are kept, the settings
 * file is written last.
 *
 * @throws Error with the reason
 */
export async function join(options: JoinOptions): Promise<Joined> {
  const layout = layoutOf(options.settings)
  const token = parseJoinToken(options.token)
  const before = joinedBefore(layout, token)
  if (before) return before
  const name = options.name ?? nameOfHost(hostname())
  makeFolders(layout.folder, layout.pki, options.data)
  const key = await keyIn(joinPath(layout.pki, `${name}.key`))
  const consoleKey = await keyIn(layout.consoleKey)
  const request: JoinRequest = {
    name,
    address: options.address ?? null,
    hosts: [...new Set([hostname(), ...ownAddresses()])],
    publicKey: publicKeyOf(key),
    consolePublicKey: publicKeyOf(consoleKey),
    version,
  }
  const answer = await exchange(options.url, token, request)
  if (fingerprintOf(answer.ca) !== token.fingerprint) {
    throw new Error('the answer is of another authority than the token says: it is not believed')
  }
  if (!isIssuedBy(answer.certificate, answer.ca, key)) {
    throw new Error('the certificate in the answer is not for the key of this machine')
  }
  const write = (file: string, text: string, mode: number) => writeWhole(file, text, mode)
  write(joinPath(layout.pki, 'ca.crt'), answer.ca, 0o644)
  if (answer.caKey !== null) write(joinPath(layout.pki, 'ca.key'), answer.caKey, 0o600)
  write(joinPath(layout.pki, `${name}.crt`), answer.certificate, 0o644)
  if (answer.consoleCertificate !== null) {
    write(layout.consoleCertificate, answer.consoleCertificate, 0o644)
  }
  write(layout.deploymentKey, `${answer.deploymentKey}\n`, 0o600)
  const settings = settingsFrom(answer, name, options, layout, await ownDatabasePorts())
  const { linkHost: host, linkPort: port } = answer.primary
  rememberOther(options.data, { name: answer.primary.name, host, port })
  writeSettings(layout.settings, settings, 'keepwatch join')
  return { layout, name, primary: answer.primary, url: settings.console.url! }
}

/** A join that was interrupted after its last step: nothing is left to be fetched. */
function joinedBefore(layout: Layout, token: JoinToken): Joined | undefined {
  if (!existsSync(layout.settings)) return undefined
  const { name, console, link } = readServer(layout.settings)
  const ca = joinPath(layout.pki, 'ca.crt')
  if (!existsSync(ca) || fingerprintOf(readFileSync(ca, 'utf8')) !== token.fingerprint) {
    throw new Error(
      `${layout.settings} belongs to another deployment: move its folder away, or name another file with --settings`,
    )
  }
  const url = console.url ?? urlOf(link.advertise, console.port)
  return { layout, name, primary: undefined, url }
}

function settingsFrom(
  answer: JoinAnswer,
  name: string,
  options: JoinOptions,
  layout: Layout,
  ports: { port: number; otherPort: number },
) {
  const beside = (path: string) => relativeTo(layout.folder, path)
  const port = options.consolePort ?? answer.console.port
  const tls = answer.console.tls && answer.consoleCertificate !== null
  const url = urlOf(answer.address, port)
  return {
    name,
    installed: 'secondary',
    dataDir: beside(options.data),
    console: {
      host: options.consoleHost ?? listenAt(answer.console.host),
      port,
      url: tls ? url : url.replace(/^https/, 'http'),
      ...(tls
        ? { tls: { key: beside(layout.consoleKey), cert: beside(layout.consoleCertificate) } }
        : {}),
    },
    link: {
      host: listenAt(answer.link.host),
      port: options.linkPort ?? answer.link.port,
      advertise: answer.address,
      identity: beside(layout.pki),
    },
    database: answer.databaseUrl === null ? { own: ports } : { url: answer.databaseUrl },
    keyFile: beside(layout.deploymentKey),
    failover: answer.failover,
    ...(answer.collect !== null && options.collector ? { collect: answer.collect } : {}),
  } satisfies z.input<typeof serverSettings>
}

async function exchange(url: string, token: JoinToken, request: JoinRequest): Promise<JoinAnswer> {
  const nonce = randomBytes(24).toString('base64url')
  const sealed = sealJoin(token, 'request', nonce, request)
  const body = JSON.stringify({ id: token.id, nonce, sealed })
  let console = url.replace(/\/+$/, '')
  for (let count = 0; ; count++) {
    const { status, text } = await post(`${console}${basePath}/pair/join`, body)
    const nothing = () => new Error(`${console} is no Keepwatch console: it answered ${status}`)
    if (status === 200) {
      const { data } = z.object({ sealed: z.string() }).safeParse(jsonOf(text))
      if (data === undefined) throw nothing()
      const { sealed: answer } = data
      const opened = unsealJoin(token, 'answer', nonce, answer)
      if (opened === undefined) {
        throw new Error(`${console} does not know the token’s secret: it is not the first server`)
      }
      return joinAnswer.parse(opened)
    }
    const { data } = errorBody.safeParse(jsonOf(text))
    if (data === undefined) throw nothing()
    const { code, message, active } = data.error
    if (code !== 'not-active' || !active || count === redirects) {
      throw new Error(`${console} does not let this machine in: ${message}`)
    }
    console = active
  }
}

/** Whose certificate the console shows does not matter: the token proves both sides to each other. */
function post(url: string, body: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const send = url.startsWith('https:') ? httpsRequest : httpRequest
    const failed = (error: NodeJS.ErrnoException) =>
      reject(new Error(`${url} cannot be reached: ${error.message || error.code}`))
    const asking = send(url, {
      method: 'POST',
      rejectUnauthorized: false,
      agent: false,
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      },
      signal: AbortSignal.timeout(deadlineMs),
    })
    asking.on('error', failed)
    asking.on('response', response => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
        if (text.length > mostBytes) response.destroy(new Error('its answer is too long'))
      })
      response.on('error', failed)
      response.on('end', () => resolve({ status: response.statusCode!, text }))
    })
    asking.end(body)
  })
}

/** `kw2` of `KW2.example.net`. */
function nameOfHost(host: string): string {
  const name = host
    .split('.', 1)[0]!
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .replace(/^-+/, '')
    .slice(0, 16)
  if (name === '') throw new Error(`the host name ${host} makes no name; choose one with --name`)
  return name
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
