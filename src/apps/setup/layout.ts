/** Which files a server that was set up has, all beside its settings file. */
import { randomBytes } from 'node:crypto'
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { stringify } from 'yaml'
import { writeWhole } from '../../lib/files.ts'
import { freePort } from '../../lib/ports.ts'
import { parseSettings } from '../../lib/settings.ts'
import { createKey } from '../../lib/tls.ts'
import { serverSettings } from '../server/settings.ts'

export const defaultSettingsFile = '/etc/keepwatch/server.yaml'
export const defaultDataDir = '/var/lib/keepwatch'

export interface Layout {
  settings: string
  /** Folder of all the others. */
  folder: string
  pki: string
  deploymentKey: string
  consoleKey: string
  consoleCertificate: string
  firstPassword: string
  apiToken: string
}

export function layoutOf(settingsFile: string): Layout {
  const settings = resolve(settingsFile)
  const folder = dirname(settings)
  const pki = join(folder, 'pki')
  return {
    settings,
    folder,
    pki,
    deploymentKey: join(pki, 'deployment.key'),
    consoleKey: join(pki, 'console.key'),
    consoleCertificate: join(pki, 'console.crt'),
    firstPassword: join(folder, 'first-password'),
    apiToken: join(folder, 'api-token'),
  }
}

/** Makes the folders that only their owner may look into. @throws Error that says what would be right */
export function makeFolders(...folders: string[]): void {
  for (const folder of folders) {
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') throw error
      throw new Error(`${message}: run it as root, or name other places with --settings and --data`)
    }
  }
}

/** The secret in a file, made if it is not there yet. */
export function secretIn(file: string, make: () => string): string {
  if (!existsSync(file)) writeWhole(file, `${make()}\n`, 0o600)
  return readFileSync(file, 'utf8').trim()
}

export const newDeploymentKey = () => randomBytes(32).toString('base64')

/** The private key in a file, PEM, made if it is not there yet. */
export async function keyIn(file: string): Promise<string> {
  if (!existsSync(file)) writeWhole(file, await createKey(), 0o600)
  return readFileSync(file, 'utf8')
}

/** As `keepwatch server` reads it; its owner's only, for the database's password is in it. */
export function writeSettings(file: string, settings: object, by: string): void {
  const text = `# Written by ${by}. What each key means: docs/reference/settings.md\n${stringify(settings)}`
  // What is written can be read.
  parseSettings(text, file, serverSettings)
  writeWhole(file, text, 0o600)
}

/** Gives a folder with all that is in it to a user. */
export function giveTo(owner: { uid: number; gid: number }, folder: string): void {
  chownSync(folder, owner.uid, owner.gid)
  for (const entry of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    chownSync(join(folder, entry), owner.uid, owner.gid)
  }
}

/** What a database of a server's own listens on, and the way to the other's; loopback only. */
export async function ownDatabasePorts(): Promise<{ port: number; otherPort: number }> {
  return { port: await freePort(), otherPort: await freePort() }
}
