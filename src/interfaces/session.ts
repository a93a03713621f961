/** A session with an SNMP agent, version 2c or 3 (RFC 3416, RFC 3414). */
import { createRequire } from 'node:module'
import type { Value, Walker } from './read.ts'

// It brings no types.
const snmp = createRequire(import.meta.url)('net-snmp')

/** How to ask an agent. */
export type SnmpAccess =
  | { version: '2c'; community: string }
  | {
      version: '3'
      user: string
      /** Without it nobody proves who they are. */
      auth?: { protocol: 'md5' | 'sha' | 'sha224' | 'sha256' | 'sha384' | 'sha512'; key: string }
      /** Only with `auth`. */
      priv?: { protocol: 'des' | 'aes' | 'aes256b' | 'aes256r'; key: string }
    }

export interface SnmpSession extends Walker {
  close(): void
}

/** The agent does not answer, or refuses. */
export class SnmpError extends Error {
  override name = 'SnmpError'
}

const defaults = { port: 161, timeoutMs: 2000, retries: 1, deadlineMs: 60_000 }
const maxRepetitions = 25
/** More than any device has interfaces. */
const maxRows = 100_000

export function openSnmp(
  address: string,
  access: SnmpAccess,
  options: Partial<typeof defaults> = {},
): SnmpSession {
  const { port, timeoutMs, retries, deadlineMs } = { ...defaults, ...options }
  const transport = address.includes(':') ? 'udp6' : 'udp4'
  const common = { port, transport, timeout: timeoutMs, retries, backoff: 1, idBitsSize: 32 }
  const session =
    access.version === '2c'
      ? snmp.createSession(address, access.community, { ...common, version: snmp.Version2c })
      : snmp.createV3Session(address, userOf(access), { ...common, version: snmp.Version3 })
  session.on('error', () => {})
  const opened = performance.now()

  return {
    walk(oid) {
      return new Promise((resolve, reject) => {
        const rows: [string, Value][] = []
        const feed = (varbinds: { oid: string; value: unknown; type: number }[]) => {
          for (const varbind of varbinds) {
            if (snmp.isVarbindError(varbind)) continue
            rows.push([varbind.oid.slice(oid.length + 1), readValue(varbind)])
          }
          // True ends the walk.
          return rows.length > maxRows || performance.now() - opened > deadlineMs
        }
        session.subtree(oid, maxRepetitions, feed, (error: Error | null) => {
          if (error) return reject(new SnmpError(error.message))
          if (rows.length > maxRows) return reject(new SnmpError(`more than ${maxRows} rows`))
          if (performance.now() - opened > deadlineMs) {
            return reject(new SnmpError(`no end within ${deadlineMs / 1000} s`))
          }
          resolve(rows)
        })
      })
    },
    close() {
      session.close()
    },
  }
}

function readValue({ value, type }: { value: unknown; type: number }): Value {
  if (!Buffer.isBuffer(value)) return value as Value
  if (type === snmp.ObjectType.Counter64) return BigInt(`0x${value.toString('hex') || '0'}`)
  return value.toString('utf8')
}

function userOf({ user, auth, priv }: Extract<SnmpAccess, { version: '3' }>) {
  const { noAuthNoPriv, authNoPriv, authPriv } = snmp.SecurityLevel
  if (!auth) return { name: user, level: noAuthNoPriv }
  const proof = { authProtocol: snmp.AuthProtocols[auth.protocol], authKey: auth.key }
  if (!priv) return { name: user, level: authNoPriv, ...proof }
  const secret = { privProtocol: snmp.PrivProtocols[priv.protocol], privKey: priv.key }
  return { name: user, level: authPriv, ...proof, ...secret }
}
