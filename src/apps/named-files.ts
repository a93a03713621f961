/** What settings name by file or port: read and opened so that a failure says which setting it was. */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { createSecureContext } from 'node:tls'
import type { StreamTls } from '../collect/listen.ts'
import type { Component } from '../lib/component.ts'
import { unusableSetting } from '../lib/settings.ts'
import { type Identity, readIdentity } from '../lib/tls.ts'

/**
 * @param setting the settings file and the key in it that names the folder
 * @throws SettingsError
 */
export function identityIn(
  folder: string,
  name: string,
  setting: { file: string; key: string },
): Identity {
  try {
    const identity = readIdentity(folder, name)
    createSecureContext(identity)
    return identity
  } catch (error) {
    const needed = `the folder ${folder} must hold ${name}.key, ${name}.crt (which go together) and ca.crt`
    throw unusableSetting(setting.file, setting.key, `${needed}: ${(error as Error).message}`)
  }
}

/**
 * Key and certificate of the console.
 *
 * @param file the settings file, with the keys `console.tls.key` and `console.tls.cert`
 * @throws SettingsError
 */
export function consoleTls(
  paths: { key: string; cert: string },
  file: string,
): { key: string; cert: string } {
  const key = textIn(paths.key, { file, key: 'console.tls.key' })
  const cert = textIn(paths.cert, { file, key: 'console.tls.cert' })
  try {
    createSecureContext({ key, cert })
  } catch (error) {
    const what = 'key and cert must be PEM files that go together'
    throw unusableSetting(file, 'console.tls', `${what}: ${(error as Error).message}`)
  }
  return { key, cert }
}

/**
 * Key, certificate and authorities of listeners with TLS.
 *
 * @param setting the settings file, and the key that has them
 * @throws SettingsError
 */
export function streamTls(
  paths: { key: string; cert: string; clients?: string | undefined },
  setting: { file: string; key: string },
): StreamTls {
  const read = (path: string, key: string) =>
    textIn(resolve(dirname(setting.file), path), { ...setting, key: `${setting.key}.${key}` })
  const tls = {
    key: read(paths.key, 'key'),
    cert: read(paths.cert, 'cert'),
    ...(paths.clients === undefined ? {} : { ca: read(paths.clients, 'clients') }),
  }
  try {
    createSecureContext(tls)
  } catch (error) {
    const what = 'key and cert must be PEM files that go together, clients one of certificates'
    throw unusableSetting(setting.file, setting.key, `${what}: ${(error as Error).message}`)
  }
  return tls
}

/** The text of a file that a setting names. @throws SettingsError */
export function textIn(path: string, setting: { file: string; key: string }): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw unusableSetting(setting.file, setting.key, (error as Error).message)
  }
}

/** The component, whose start says which setting to change where its port cannot be opened. */
export function opening(component: Component, setting: { file: string; key: string }): Component {
  return {
    stop: () => component.stop(),
    async start() {
      try {
        await component.start()
      } catch (error) {
        const { syscall, message } = error as NodeJS.ErrnoException
        if (syscall !== 'listen') throw error
        throw unusableSetting(setting.file, setting.key, `cannot be opened: ${message}`)
      }
    },
  }
}
