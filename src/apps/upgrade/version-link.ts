/** The versions of one server, offered to the other over the link, and got from it. */
import { createReadStream, createWriteStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { PeerCertificate } from 'node:tls'
import type { LinkRoute } from '../../collect/link.ts'
import type { Identity } from '../../lib/tls.ts'
import { type Home, isVersion } from './home.ts'
import { finishVersion, installedManifest, sizeOf } from './install.ts'
import { type VersionManifest, versionManifest } from './version-files.ts'

const prefix = '/link/v1/versions/'
const silentMs = 30_000
const maxManifestBytes = 64 * 1024 * 1024
/** A line of progress for each so many bytes. */
const progressBytes = 100e6

/** GET …/<version>: its manifest. GET …/<version>/<sha256>: the bytes of one of its files. */
export function versionRoutes(home: Home): LinkRoute[] {
  const manifests = new Map<string, Promise<VersionManifest>>()

  /** Of the one that is asked for now; what is installed does not change. */
  function manifestFor(version: string): Promise<VersionManifest> {
    const read = manifests.get(version) ?? installedManifest(home, version)
    manifests.clear()
    manifests.set(version, read)
    read.catch(() => manifests.delete(version))
    return read
  }

  return [
    {
      method: 'GET',
      prefix,
      role: 'server',
      async answer(asked, response) {
        const [version = '', sha256] = (asked.url ?? '').slice(prefix.length).split('/')
        if (!isVersion(version) || !home.has(version)) {
          response.writeHead(404).end()
          return
        }
        const manifest = await manifestFor(version)
        if (sha256 === undefined) {
          const text = JSON.stringify(manifest)
          response
            .writeHead(200, {
              'content-type': 'application/json',
              'content-length': Buffer.byteLength(text),
            })
            .end(text)
          return
        }
        const file = manifest.entries.find(one => 'sha256' in one && one.sha256 === sha256)
        if (file === undefined) {
          response.writeHead(404).end()
          return
        }
        const path = join(home.folderOf(version), file.path)
        response.writeHead(200, { 'content-length': (await stat(path)).size })
        await pipeline(createReadStream(path), response)
      },
    },
  ]
}

/** Gets a version from the other server and puts it beside those that are here. */
export async function fetchVersion(
  deps: { home: Home; identity: Identity; progress(text: string): void },
  peer: { name: string; host: string; port: number },
  version: string,
  signal: AbortSignal,
): Promise<void> {
  const { home, identity } = deps
  const agent = new Agent({
    key: identity.key,
    cert: identity.cert,
    ca: identity.ca,
    keepAlive: true,
    minVersion: 'TLSv1.3',
    checkServerIdentity: (_host, certificate) => strangerIn(certificate, peer.name),
  })
  const ask = (path: string) => get(agent, peer, prefix + path, signal)
  try {
    const manifest = versionManifest.parse(JSON.parse(await textOf(await ask(version))))
    if (manifest.version !== version) throw new Error(`it offers version ${manifest.version}`)
    let bytes = 0
    let told = 0
    const fetched = await finishVersion(home, manifest, {
      async fetch({ sha256, size }, into) {
        const content = await ask(`${version}/${sha256}`)
        await pipeline(content, limited(size), createWriteStream(into, { mode: 0o600 }), { signal })
        bytes += size
        if (bytes - told < progressBytes) return
        told = bytes
        deps.progress(`has fetched ${sizeOf(bytes)}`)
      },
      trusted: false,
    })
    deps.progress(
      `has version ${version}: ${fetched.files} files, ${sizeOf(fetched.bytes)}, were new`,
    )
  } finally {
    agent.destroy()
  }
}

function get(
  agent: Agent,
  peer: { host: string; port: number },
  path: string,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { host, port } = peer
  return new Promise((resolve, reject) => {
    // `timeout` also ends an answer whose bytes stay away.
    const asking = request({ host, port, path, agent, servername: '', timeout: silentMs, signal })
    asking.on('timeout', () => asking.destroy(new Error(`${host} does not answer`)))
    asking.on('error', reject)
    asking.on('response', response => {
      if (response.statusCode === 200) return resolve(response)
      response.resume()
      reject(new Error(`${host} answered ${response.statusCode} for ${path}`))
    })
    asking.end()
  })
}

async function textOf(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxManifestBytes) throw new Error('the list of files is too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Lets through as much as was announced; more than that is an error, not a full disk. */
function limited(size: number): Transform {
  let left = size
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      left -= chunk.length
      if (left < 0) done(new Error('more bytes came than were announced'))
      else done(null, chunk)
    },
  })
}

function strangerIn(certificate: PeerCertificate, name: string): Error | undefined {
  const { CN, OU } = certificate.subject
  if (CN === name && OU === 'server') return undefined
  return new Error(`the certificate is of ${OU} ${CN}, not of server ${name}`)
}
