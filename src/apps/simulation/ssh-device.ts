import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import ssh2, { type Connection, type ServerChannel } from 'ssh2'
import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import { frrConfiguration, iosConfiguration } from './device-configurations.ts'
import { createFrrDevice, type FrrDevice } from './device-frr.ts'
import { createIosDevice, type IosDevice } from './device-ios.ts'

export interface SshDeviceConfig {
  kind: 'ios' | 'frr'
  address: string
  /** 0 = any free one. */
  port: number
  user: string
  password: string
  hostname: string
  /** Keeps the device's host key and configuration from one start to the next. */
  folder: string
}

/** A device of the simulated network that can be logged in to over SSH. */
export interface SshDevice extends Component {
  /** The port it listens on, once started. */
  port(): number
  /** Somebody changes the configuration at the console. @throws Error at a line that is refused */
  configure(user: string, change: readonly string[]): void
}

/** @param deps.onConfigured somebody changed the configuration: what a device then says by syslog */
export function createSshDevice(
  deps: { clock: Clock; onConfigured: (user: string, from: string) => void },
  config: SshDeviceConfig,
): SshDevice {
  const keyFile = join(config.folder, `${config.hostname}.key`)
  const configurationFile = join(config.folder, `${config.hostname}.conf`)
  const connections = new Set<Connection>()
  let device: ({ kind: 'ios' } & IosDevice) | ({ kind: 'frr' } & FrrDevice) | undefined
  let server: ssh2.Server | undefined
  let port = config.port

  function configured(user: string, from: string) {
    if (device) writeFileSync(configurationFile, device.stored())
    deps.onConfigured(user, from)
  }

  function onConnection(connection: Connection, from: string) {
    connections.add(connection)
    connection.on('close', () => connections.delete(connection))
    // A client that went away, or speaks something else, is its own trouble.
    connection.on('error', () => connection.end())
    connection.on('authentication', context => {
      if (context.username !== config.user) return context.reject(['password'])
      if (context.method === 'password' && context.password === config.password) {
        return context.accept()
      }
      if (context.method !== 'keyboard-interactive') {
        return context.reject(['password', 'keyboard-interactive'])
      }
      context.prompt([{ prompt: 'Password: ', echo: false }], answers =>
        answers[0] === config.password ? context.accept() : context.reject(['password']),
      )
    })
    connection.on('session', accept => {
      const session = accept()
      let rows = 24
      session.on('pty', (acceptPty, _reject, info) => {
        rows = info.rows
        acceptPty?.()
      })
      session.on('env', acceptEnv => acceptEnv?.())
      session.on('shell', (acceptShell, reject) => {
        if (device?.kind !== 'ios') return reject?.()
        onShell(device, acceptShell(), rows, from)
      })
      session.on('exec', (acceptExec, reject, info) => {
        if (device?.kind !== 'frr') return reject?.()
        const channel = acceptExec()
        const { output, errors, status, configured: changed } = device.execute(info.command)
        if (changed) configured(config.user, from)
        channel.stderr.write(errors)
        channel.write(output)
        channel.exit(status)
        channel.end()
      })
    })
  }

  function onShell(ios: IosDevice, channel: ServerChannel, rows: number, from: string) {
    const terminal = ios.open({
      user: config.user,
      rows,
      write: text => channel.write(text),
      close: () => {
        channel.exit(0)
        channel.end()
      },
      configured: () => configured(config.user, from),
    })
    channel.on('data', (bytes: Buffer) => terminal.input(bytes.toString('latin1')))
    channel.on('error', () => channel.close())
  }

  return {
    port: () => port,
    async start() {
      mkdirSync(config.folder, { recursive: true, mode: 0o700 })
      if (!existsSync(keyFile)) {
        writeFileSync(keyFile, generateHostKey(), { mode: 0o600 })
      }
      const kept = existsSync(configurationFile) && readFileSync(configurationFile, 'utf8')
      device =
        config.kind === 'ios'
          ? {
              kind: 'ios',
              ...createIosDevice(deps, {
                text: kept || iosConfiguration(config.hostname),
                enablePassword: config.password,
              }),
            }
          : { kind: 'frr', ...createFrrDevice({ text: kept || frrConfiguration(config.hostname) }) }
      const listening = new ssh2.Server({ hostKeys: [readFileSync(keyFile)] }, (connection, info) =>
        onConnection(connection, info.ip),
      )
      server = listening
      await new Promise<void>((resolve, reject) => {
        listening.once('error', reject)
        listening.listen(config.port, config.address, () => resolve())
      })
      port = (listening.address() as { port: number }).port
    },
    async stop() {
      const closing = server
      server = undefined
      if (!closing) return
      const closed = new Promise<void>(resolve => closing.close(() => resolve()))
      for (const connection of connections) connection.end()
      await closed
    },
    configure(user, change) {
      if (!device) throw new Error('the device is not running')
      const refused = device.configure(user, change)
      if (refused !== undefined) throw new Error(`the device refuses "${refused}"`)
      configured(user, 'console')
    },
  }
}

/** ECDSA, since one in 256 of the Ed25519 keys that ssh2 makes is malformed (a leading zero is cut). */
export function generateHostKey(): string {
  return ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 }).private
}
