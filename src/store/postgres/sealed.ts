/** What the database holds and must not be able to read: AES-256-GCM under the deployment's key. */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

const keyLength = 32
const nonceLength = 12
const tagLength = 16
const form = 1

/** @throws Error unless it is a deployment's key, 32 bytes */
export function checkKey(key: Buffer): void {
  if (key.length !== keyLength) throw new Error(`the key must have ${keyLength} bytes`)
}

/** A key for one purpose alone (HKDF with SHA-256, RFC 5869). */
export function keyFor(purpose: string, key: Buffer): Buffer {
  checkKey(key)
  return Buffer.from(hkdfSync('sha256', key, '', `keepwatch/${purpose}`, keyLength))
}

/**
 * Form byte, nonce, tag, ciphertext.
 *
 * @param boundTo where it is stored; it opens only there, so that nobody can swap rows
 */
export function seal(key: Buffer, boundTo: string, plain: Buffer): Buffer {
  const nonce = randomBytes(nonceLength)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(Buffer.from(boundTo))
  const text = Buffer.concat([cipher.update(plain), cipher.final()])
  return Buffer.concat([Buffer.of(form), nonce, cipher.getAuthTag(), text])
}

/** @param what names it in errors */
export function open(key: Buffer, boundTo: string, sealed: Buffer, what: string): Buffer {
  const tagAt = 1 + nonceLength
  if (sealed[0] !== form || sealed.length < tagAt + tagLength) {
    throw new Error(`${what} is stored in an unknown form`)
  }
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(1, tagAt))
  decipher.setAAD(Buffer.from(boundTo))
  decipher.setAuthTag(sealed.subarray(tagAt, tagAt + tagLength))
  try {
    return Buffer.concat([decipher.update(sealed.subarray(tagAt + tagLength)), decipher.final()])
  } catch (cause) {
    throw new Error(`${what} was stored under another key, or was changed`, { cause })
  }
}
