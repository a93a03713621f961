import { createHash } from 'node:crypto'
import { connect as connectTcp, type Socket } from 'node:net'
import {
  type Algorithms,
  type AuthenticationType,
  Client,
  type ConnectConfig,
  type ServerHostKeyAlgorithm,
} from 'ssh2'
import type { FailureReason } from './failure.ts'

/** How a person or a program logs in at a device. */
export interface Login {
  username: string
  password?: string | undefined
  /** PEM or OpenSSH format. */
  privateKey?: string | undefined
  passphrase?: string | undefined
  /** For the privileged level; the password, if absent. */
  enablePassword?: string | undefined
}

/**
 * The keys that devices showed when they were first met: `ssh-ed25519 SHA256:…`. Forgetting one,
 * so that the next key is trusted again, is a person's decision.
 */
export interface HostKeys {
  get(device: string): Promise<string | undefined>
  set(device: string, key: string): Promise<void>
}

/** What a connection needs besides its target. */
export interface ConnectionContext {
  hostKeys: HostKeys
  signal: AbortSignal
  connectMs: number
  handshakeMs: number
  note(text: string): void
  fail(reason: FailureReason, message: string): Error
}

/** Offered only to a device that understands nothing better: most switches older than ten years. */
const legacyAlgorithms = {
  kex: [
    'diffie-hellman-group14-sha1',
    'diffie-hellman-group-exchange-sha1',
    'diffie-hellman-group1-sha1',
  ],
  cipher: ['aes256-cbc', 'aes192-cbc', 'aes128-cbc', '3des-cbc'],
  serverHostKey: ['ssh-dss'],
  hmac: ['hmac-md5'],
} as const

const hostKeyAlgorithms: readonly ServerHostKeyAlgorithm[] = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
  'ssh-rsa',
]

/**
 * An authenticated SSH connection (RFC 4251 ff.). Trusts a device's key on first use and no other
 * afterwards; falls back to legacy algorithms if, and only if, nothing else is common.
 */
export async function openConnection(
  context: ConnectionContext,
  target: { id: string; address: string; port: number; login: Login },
): Promise<Client> {
  const known = await context.hostKeys.get(target.id)
  const first = await attempt(context, target, known, false)
  if ('client' in first) return first.client
  context.note(`${first.mismatch}; trying again with legacy algorithms`)
  const second = await attempt(context, target, known, true)
  if ('client' in second) return second.client
  throw context.fail('rejected', `no common algorithms: ${second.mismatch}`)
}

async function attempt(
  context: ConnectionContext,
  target: { id: string; address: string; port: number; login: Login },
  known: string | undefined,
  legacy: boolean,
): Promise<{ client: Client } | { mismatch: string }> {
  const { signal, fail } = context
  const socket = await reach(context, target)
  const client = new Client()
  let shown: string | undefined

  const outcome = await new Promise<'ready' | Error>(resolve => {
    const end = () => {
      client.destroy()
      resolve(fail('aborted', 'the session was ended'))
    }
    const settle = (result: 'ready' | Error) => {
      signal.removeEventListener('abort', end)
      resolve(result)
    }
    signal.addEventListener('abort', end, { once: true })
    client
      .on('ready', () => settle('ready'))
      .on('error', settle)
      .on('close', () => settle(new Error('the device closed the connection during log-in')))
      .on('keyboard-interactive', (_name, _instructions, _language, prompts, finish) => {
        const asked = prompts.map(prompt => prompt.prompt).join(' ')
        context.note(`asked: ${asked}`)
        finish(prompts.map(prompt => replyTo(prompt, target.login)))
      })
    try {
      client.connect({
        sock: socket,
        username: target.login.username,
        ...credentials(target.login),
        tryKeyboard: true,
        authHandler: methods(target.login),
        readyTimeout: context.handshakeMs,
        algorithms: algorithms(known, legacy),
        hostVerifier: (key: Buffer) => {
          shown = describeKey(key)
          return known === undefined || known === shown
        },
      })
    } catch (error) {
      // A private key that cannot be read.
      settle(Object.assign(error as Error, { level: 'client-authentication' }))
    }
  })

  if (outcome === 'ready') {
    if (known === undefined && shown !== undefined) {
      await context.hostKeys.set(target.id, shown)
      context.note(`met for the first time, its key is ${shown}`)
    }
    return { client }
  }
  client.on('error', () => {})
  client.destroy()
  socket.destroy()
  if (signal.aborted) throw fail('aborted', 'the session was ended')
  if (known !== undefined && shown !== undefined && known !== shown) {
    throw fail(
      'host-key-changed',
      `the device shows the key ${shown}, but the one known is ${known}: it was replaced, or somebody stands between; forget the known key only if you know why`,
    )
  }
  if (!legacy && /no matching/i.test(outcome.message)) return { mismatch: outcome.message }
  throw translate(outcome, context)
}

/** A TCP connection, or a failure that says why not. */
async function reach(
  context: ConnectionContext,
  target: { address: string; port: number },
): Promise<Socket> {
  const socket = connectTcp({ host: target.address, port: target.port, noDelay: true })
  const where = `${target.address} port ${target.port}`
  let timer: NodeJS.Timeout | undefined
  let onAbort: (() => void) | undefined
  try {
    await new Promise<void>((resolve, reject) => {
      onAbort = () => reject(context.fail('aborted', 'the session was ended'))
      if (context.signal.aborted) onAbort()
      context.signal.addEventListener('abort', onAbort, { once: true })
      timer = setTimeout(
        () =>
          reject(
            context.fail('unreachable', `${where}: no answer within ${context.connectMs / 1000} s`),
          ),
        context.connectMs,
      )
      socket.once('connect', resolve)
      socket.once('error', (error: NodeJS.ErrnoException) =>
        reject(context.fail('unreachable', `${where}: ${error.code ?? error.message}`)),
      )
    })
    context.note(`connected to ${where}`)
    return socket
  } catch (error) {
    socket.on('error', () => {})
    socket.destroy()
    throw error
  } finally {
    clearTimeout(timer)
    if (onAbort) context.signal.removeEventListener('abort', onAbort)
  }
}

function translate(error: Error & { level?: string }, context: ConnectionContext): Error {
  switch (error.level) {
    case 'client-authentication':
      return context.fail('authentication', `log-in refused: ${error.message}`)
    case 'client-timeout':
      return context.fail('timeout', `no log-in within ${context.handshakeMs / 1000} s`)
    case 'client-socket':
      return context.fail('unreachable', error.message)
    default:
      return context.fail('rejected', error.message)
  }
}

function credentials(login: Login): Pick<ConnectConfig, 'password' | 'privateKey' | 'passphrase'> {
  return {
    ...(login.password !== undefined && { password: login.password }),
    ...(login.privateKey !== undefined && { privateKey: login.privateKey }),
    ...(login.passphrase !== undefined && { passphrase: login.passphrase }),
  }
}

/** Each method that the login allows and the device offers, once; wrong tries lock accounts. */
function methods(login: Login): NonNullable<ConnectConfig['authHandler']> {
  const untried: AuthenticationType[] = [
    'none',
    ...(login.privateKey === undefined ? [] : (['publickey'] as const)),
    ...(login.password === undefined ? [] : (['password', 'keyboard-interactive'] as const)),
  ]
  const choose = (offered: AuthenticationType[] | null): AuthenticationType | false => {
    const index = untried.findIndex(method => offered === null || offered.includes(method))
    return untried.splice(index < 0 ? untried.length : index, 1)[0] ?? false
  }
  return ((offered: AuthenticationType[] | null) => choose(offered)) as NonNullable<
    ConnectConfig['authHandler']
  >
}

function replyTo(prompt: { prompt: string; echo?: boolean }, login: Login): string {
  if (/accept/i.test(prompt.prompt)) return 'yes'
  if (/user ?name|login:/i.test(prompt.prompt)) return login.username
  return login.password ?? ''
}

/** The kind of key that is known comes first, so that a device with several shows that one. */
function algorithms(known: string | undefined, legacy: boolean): Algorithms {
  const kind = known?.split(' ')[0]
  const ofKind = (name: string) =>
    name === kind || (kind === 'ssh-rsa' && name.startsWith('rsa-sha2-'))
  const all = legacy
    ? [...hostKeyAlgorithms, ...legacyAlgorithms.serverHostKey]
    : [...hostKeyAlgorithms]
  const serverHostKey = [...all.filter(ofKind), ...all.filter(name => !ofKind(name))]
  if (!legacy) return { serverHostKey }
  const append = <T>(names: readonly T[]) => ({ append: [...names], prepend: [], remove: [] })
  return {
    serverHostKey,
    kex: append(legacyAlgorithms.kex),
    cipher: append(legacyAlgorithms.cipher),
    hmac: append(legacyAlgorithms.hmac),
  }
}

/** A public key (RFC 4253 §6.6) as its kind and the fingerprint that `ssh-keygen -l` prints. */
function describeKey(blob: Buffer): string {
  const length = blob.length >= 4 ? blob.readUInt32BE(0) : 0
  const kind = blob.toString('latin1', 4, 4 + Math.min(length, 64))
  const digest = createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')
  return `${kind} SHA256:${digest}`
}
