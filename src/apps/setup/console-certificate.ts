/** Keeps the console's certificate right, where it is of the deployment's own authority. */
import { readFileSync } from 'node:fs'
import type { PairSettings } from '../../api/contract/setup.ts'
import type { Component } from '../../lib/component.ts'
import { writeWhole } from '../../lib/files.ts'
import {
  hasAuthority,
  isIssuedBy,
  openAuthority,
  publicKeyOf,
  readCertificate,
  speaksFor,
} from '../../lib/tls.ts'
import { sharedHosts } from './welcome.ts'

const everyMs = 10_000
const renewBeforeMs = 60 * 86_400_000

export interface ConsoleCertificate extends Component {
  /** Looks at once, after what is set has changed. */
  look(): Promise<void>
}

/**
 * Issues it anew, for the same key, before it ends and when a virtual address or name is set that is
 * not in it. One that came from elsewhere is never touched.
 */
export function createConsoleCertificate(
  deps: {
    settings(): Promise<PairSettings>
    /** New connections are served with it. */
    renewed(tls: { key: string; cert: string }): void
    /** It could not be renewed; said again and again. */
    failed(error: Error): void
    now(): number
  },
  config: { name: string; identityDir: string; files: { key: string; cert: string } },
): ConsoleCertificate {
  const { name, identityDir, files } = config
  let timer: NodeJS.Timeout | undefined
  let checking: Promise<void> | undefined

  async function check() {
    if (!hasAuthority(identityDir)) return
    const cert = readFileSync(files.cert, 'utf8')
    const authority = await openAuthority(identityDir)
    if (!isIssuedBy(cert, authority.ca)) return
    const shared = sharedHosts(await deps.settings())
    const { hosts, expires } = readCertificate(cert)
    const missing = shared.filter(host => !speaksFor(cert, host))
    if (missing.length === 0 && expires.getTime() - deps.now() > renewBeforeMs) return
    const key = readFileSync(files.key, 'utf8')
    const subject = { role: 'console' as const, name, hosts: [...hosts, ...missing] }
    const renewed = await authority.certify(subject, publicKeyOf(key))
    writeWhole(files.cert, renewed, 0o644)
    deps.renewed({ key, cert: renewed })
  }

  function tick(): Promise<void> {
    checking ??= check()
      .catch(deps.failed)
      .finally(() => {
        checking = undefined
      })
    return checking
  }

  return {
    async start() {
      void tick()
      timer = setInterval(() => void tick(), everyMs)
    },
    async look() {
      // One that is under way may have read what was set before.
      await checking
      await tick()
    },
    async stop() {
      clearInterval(timer)
      await checking
    },
  }
}
