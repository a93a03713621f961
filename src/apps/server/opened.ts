import { mkdirSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { StreamTls } from '../../collect/listen.ts'
import { type Timings, timingsOf, UnsafeTimings } from '../../failover/timings.ts'
import { unusableSetting } from '../../lib/settings.ts'
import type { Identity } from '../../lib/tls.ts'
import { consoleTls, identityIn, streamTls, textIn } from '../named-files.ts'
import type { GeoFiles } from './geo.ts'
import type { ServerSettings } from './settings.ts'

/** What the settings of a server name: paths made absolute, files read and judged. */
export interface Opened {
  dataDir: string
  /** Folder of `identity`. */
  identityDir: string
  identity: Identity
  /** The deployment's: 32 bytes. */
  key: Buffer
  tls: { key: string; cert: string } | undefined
  /** Absolute paths. */
  geo: GeoFiles
  /** Of the own collector's listeners with TLS. */
  streamTls: StreamTls | undefined
  first: { passwordFile: string; tokenFile: string } | undefined
  timings: Timings
  /** Its program by its absolute path, or to be found in the path. */
  hook: { command: readonly string[]; deadlineMs: number } | undefined
}

const loopback = /^(127\.|::1$|localhost$)/

/**
 * Makes the data folder too.
 *
 * @param file the settings file: relative paths start beside it
 * @throws SettingsError
 */
export function openSettings(settings: ServerSettings, file: string): Opened {
  const at = (path: string) => resolve(dirname(file), path)
  if (!settings.console.tls && !loopback.test(settings.console.host)) {
    throw unusableSetting(
      file,
      'console.host',
      `without tls it must be a loopback address, not ${settings.console.host}; or name a key and a certificate under console.tls`,
    )
  }
  const dataDir = at(settings.dataDir)
  const identityDir = at(settings.link.identity)
  const identity = identityIn(identityDir, settings.name, { file, key: 'link.identity' })
  const key = Buffer.from(textIn(at(settings.keyFile), { file, key: 'keyFile' }), 'base64')
  if (key.length !== 32) {
    throw unusableSetting(file, 'keyFile', 'the file must hold 32 bytes in base64')
  }
  const { tls: named } = settings.console
  const tls = named && consoleTls({ key: at(named.key), cert: at(named.cert) }, file)
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  return {
    dataDir,
    identityDir,
    identity,
    key,
    tls,
    geo: {
      asn: settings.geo.asn && at(settings.geo.asn),
      country: settings.geo.country && at(settings.geo.country),
    },
    streamTls:
      settings.collect?.listen.tls &&
      streamTls(settings.collect.listen.tls, { file, key: 'collect.listen.tls' }),
    first: settings.first && {
      passwordFile: at(settings.first.passwordFile),
      tokenFile: at(settings.first.tokenFile),
    },
    timings: timingsIn(settings, file),
    hook: hookIn(settings, file),
  }
}

function timingsIn(settings: ServerSettings, file: string): Timings {
  try {
    return timingsOf(settings.failover)
  } catch (error) {
    if (!(error instanceof UnsafeTimings)) throw error
    throw unusableSetting(file, `failover.${error.setting}`, error.message)
  }
}

function hookIn({ failover: { hook } }: ServerSettings, file: string): Opened['hook'] {
  if (hook === undefined) return undefined
  const [program = '', ...args] = hook.command
  const found = program.includes('/') ? resolve(dirname(file), program) : program
  return { ...hook, command: [found, ...args] }
}
