/** Secrets of which only what proves them is stored. */
import { createHash, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { Overloaded } from '../../lib/errors.ts'

const deriveKey = promisify<string, Buffer, number, object, Buffer>(scrypt)

/** 256 random bits, base64url, after the prefix. */
export function newSecret(prefix: string): string {
  return prefix + randomBytes(32).toString('base64url')
}

/** SHA-256: enough for secrets of 256 random bits, which nobody guesses. */
export function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest()
}

/** Hashes and checks passwords. */
export interface Passwords {
  /** `$scrypt$ln=15,r=8,p=1$<salt>$<hash>`, base64 without padding. @throws Overloaded */
  hash(password: string): Promise<string>
  /** Takes the same time whether right or wrong. @throws Overloaded */
  matches(password: string, hash: string): Promise<boolean>
}

const logN = 15
const blockSize = 8
const parallelism = 1
const keyLength = 32
const saltLength = 16
/** Each hashing takes 32 MiB and a thread of libuv's four for some 80 ms. */
const atOnce = 2
const maxWaiting = 100

/** scrypt (RFC 7914) with the parameters of the OWASP password storage recommendations. */
export function createPasswords(): Passwords {
  const waiting: (() => void)[] = []
  let running = 0

  async function derive(password: string, salt: Buffer, cost: Cost, length: number) {
    if (running >= atOnce) {
      if (waiting.length >= maxWaiting) throw new Overloaded('too many log in at once')
      await new Promise<void>(resolve => waiting.push(resolve))
    } else running++
    try {
      // The same password typed on another keyboard may come composed otherwise.
      return await deriveKey(password.normalize('NFKC'), salt, length, {
        N: 2 ** cost.logN,
        r: cost.blockSize,
        p: cost.parallelism,
        maxmem: 256 * 2 ** cost.logN * cost.blockSize,
      })
    } finally {
      const next = waiting.shift()
      if (next) next()
      else running--
    }
  }

  return {
    async hash(password) {
      const salt = randomBytes(saltLength)
      const key = await derive(password, salt, { logN, blockSize, parallelism }, keyLength)
      return `$scrypt$ln=${logN},r=${blockSize},p=${parallelism}$${bare(salt)}$${bare(key)}`
    },
    async matches(password, hash) {
      const { cost, salt, key } = parse(hash)
      return timingSafeEqual(await derive(password, salt, cost, key.length), key)
    },
  }
}

interface Cost {
  logN: number
  blockSize: number
  parallelism: number
}

function parse(hash: string): { cost: Cost; salt: Buffer; key: Buffer } {
  const parts =
    /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([\w+/]{16,86})\$([\w+/]{22,86})$/.exec(hash)
  const [ln, r, p] = (parts ?? []).slice(1, 4).map(Number)
  if (!parts || ln! < 1 || ln! > 20 || r! < 1 || p! < 1) {
    throw new Error('a stored password hash is not in the scrypt form')
  }
  return {
    cost: { logN: ln!, blockSize: r!, parallelism: p! },
    salt: Buffer.from(parts[4]!, 'base64'),
    key: Buffer.from(parts[5]!, 'base64'),
  }
}

function bare(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('=', '')
}
