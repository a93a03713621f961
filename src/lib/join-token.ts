/**
 * What lets one machine join, once. It travels in one line that a person carries from the first
 * machine to the second, and proves each to the other: both encrypt with what is derived from its
 * secret, so neither has to trust the certificate of the console yet.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

export interface JoinToken {
  /** UUID. */
  id: string
  /** 32 bytes. */
  secret: Buffer
  /** Of the deployment's authority: SHA-256 of its certificate, base64url. */
  fingerprint: string
}

const form = /^kwj_([0-9a-f]{32})\.([\w-]{43})\.([\w-]{43})$/
const algorithm = 'aes-256-gcm'
const ivBytes = 12
const tagBytes = 16

/** `kwj_<id>.<secret>.<fingerprint>` */
export function formatJoinToken({ id, secret, fingerprint }: JoinToken): string {
  return `kwj_${id.replaceAll('-', '')}.${secret.toString('base64url')}.${fingerprint}`
}

/** @throws Error that says what would be right; never shows the secret */
export function parseJoinToken(text: string): JoinToken {
  const parts = form.exec(text.trim())
  if (parts === null) {
    throw new Error(
      'this is no join token: it begins with kwj_ and has three parts with dots between them; copy the whole line that `keepwatch failover enable` printed',
    )
  }
  const [, hex, secret, fingerprint] = parts
  return {
    id: hex!.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
    secret: Buffer.from(secret!, 'base64url'),
    fingerprint: fingerprint!,
  }
}

/** Which message of the exchange: each is under a key of its own. */
export type JoinMessage = 'request' | 'answer'

/**
 * AES-256-GCM under HKDF-SHA-256 (RFC 5869) of the token's secret, with the nonce of the one who
 * joins as salt. Bound to the token, the nonce and the direction.
 *
 * @param nonce base64url, chosen anew for each request
 * @returns base64url
 */
export function sealJoin(
  token: Pick<JoinToken, 'id' | 'secret'>,
  message: JoinMessage,
  nonce: string,
  content: object,
): string {
  const iv = randomBytes(ivBytes)
  const cipher = createCipheriv(algorithm, keyOf(token.secret, message, nonce), iv)
  cipher.setAAD(Buffer.from(`${token.id} ${message} ${nonce}`))
  const text = Buffer.concat([cipher.update(JSON.stringify(content)), cipher.final()])
  return Buffer.concat([iv, text, cipher.getAuthTag()]).toString('base64url')
}

/** What was sealed; undefined if it was sealed with another secret, or altered. */
export function unsealJoin(
  token: Pick<JoinToken, 'id' | 'secret'>,
  message: JoinMessage,
  nonce: string,
  sealed: string,
): unknown {
  const bytes = Buffer.from(sealed, 'base64url')
  if (bytes.length < ivBytes + tagBytes) return undefined
  const key = keyOf(token.secret, message, nonce)
  const decipher = createDecipheriv(algorithm, key, bytes.subarray(0, ivBytes))
  decipher.setAAD(Buffer.from(`${token.id} ${message} ${nonce}`))
  decipher.setAuthTag(bytes.subarray(-tagBytes))
  try {
    const text = [decipher.update(bytes.subarray(ivBytes, -tagBytes)), decipher.final()]
    return JSON.parse(Buffer.concat(text).toString())
  } catch {
    return undefined
  }
}

function keyOf(secret: Buffer, message: JoinMessage, nonce: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, nonce, `keepwatch join ${message}`, 32))
}
