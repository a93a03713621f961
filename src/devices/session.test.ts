import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer, connect as tcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import ssh2 from 'ssh2'
import { describe, expect, test } from 'vitest'
import {
  hostKeys as keys,
  playDevice,
  type Reply,
  type Script,
} from '../../test/fixtures/devices/scripted-device.ts'
import { freePort } from '../lib/ports.ts'
import { type CollectOptions, collectConfiguration } from './backup.ts'
import type { HostKeys, Login } from './connection.ts'
import { drivers } from './drivers/index.ts'
import { DeviceFailure } from './failure.ts'
import { createSessions, type SessionLimits } from './session.ts'

const configuration = [
  'version 17.9',
  'hostname core1',
  'enable secret 9 $9$topsecret',
  ...Array.from(
    { length: 60 },
    (_, i) => `interface GigabitEthernet1/0/${i}\n description port ${i}\n!`,
  ),
  'end',
].join('\n')
const shown = (body: string) =>
  `show running-config\nBuilding configuration...\n\nCurrent configuration : 9 bytes\n!\n${body}\n\ncore1#`

/** A device that does as it should, save for what the test says. */
function iosScript(changes: Partial<Script> & { running?: (count: number) => Reply } = {}): Script {
  const { running = () => shown(configuration), ...rest } = changes
  return {
    greeting: '\n\nAuthorised use only.\n\ncore1#',
    reply(line, count) {
      if (line === 'show running-config') return running(count)
      if (line === 'exit') return { text: '', after: 'cut' }
      return line === '' ? '\ncore1#' : `${line}\ncore1#`
    },
    ...rest,
  }
}

/** What is remembered of host keys, in memory. */
function rememberKeys(): HostKeys & { known: Map<string, string> } {
  const known = new Map<string, string>()
  return {
    known,
    get: async device => known.get(device),
    set: async (device, key) => void known.set(device, key),
  }
}

const quick: Partial<SessionLimits> = { quietMs: 40, silenceMs: 4000, handshakeMs: 8000 }

function backUp(
  port: number,
  options: Partial<CollectOptions> & {
    login?: Partial<Login>
    hostKeys?: HostKeys
    limits?: Partial<SessionLimits>
    driver?: string
  } = {},
) {
  return collectConfiguration(
    createSessions(
      { hostKeys: options.hostKeys ?? rememberKeys() },
      { ...quick, ...options.limits },
    ),
    {
      id: 'device-1',
      name: 'core1',
      address: '127.0.0.1',
      port,
      driver: drivers.get(options.driver ?? 'cisco-ios')!,
      login: { username: 'backup', password: 'let-me-in', ...options.login },
    },
    { signal: new AbortController().signal, lastLength: () => undefined, ...options },
  )
}

async function failureOf(backup: Promise<unknown>): Promise<DeviceFailure> {
  const outcome = await backup.then(
    () => 'it succeeded',
    (error: unknown) => error,
  )
  if (outcome instanceof DeviceFailure) return outcome
  throw outcome
}

describe('a backup over a command line', () => {
  test('brings the configuration whole', async () => {
    await using device = await playDevice(iosScript())
    const { artefacts, transcript } = await backUp(device.port)
    expect(artefacts).toMatchObject([{ name: 'running', content: `!\n${configuration}\n` }])
    expect(device.received).toContain('terminal length 0')
    expect(transcript).not.toContain('topsecret')
    expect(transcript).not.toContain('let-me-in')
  })

  test('turns pages where the pager cannot be turned off', async () => {
    const wiped = '\b'.repeat(10) + ' '.repeat(10) + '\b'.repeat(10)
    const pages = configuration.split('\n').reduce<string[]>((all, line, i) => {
      if (i % 40 === 0) all.push('')
      all[all.length - 1] += `${line}\n`
      return all
    }, [])
    let page = 0
    await using device = await playDevice(
      iosScript({
        keys: true,
        reply(line) {
          if (line === 'exit') return { text: '', after: 'cut' }
          if (line === 'terminal length 0') {
            return `${line}\n% Invalid input detected at '^' marker.\n\ncore1#`
          }
          if (line !== ' ' && line !== 'show running-config') return `${line}\ncore1#`
          const before = line === ' ' ? wiped : `${line}\n`
          const text = pages[page++]!
          return `${before}${text}${page < pages.length ? ' --More-- ' : '\ncore1#'}`
        },
      }),
    )
    const { artefacts } = await backUp(device.port)
    expect(artefacts[0]!.content).toBe(`${configuration}\n`)
  })

  test('reaches the privileged level with a password that no one gets to see', async () => {
    let privileged = false
    const prompt = () => (privileged ? 'core1#' : 'core1>')
    await using device = await playDevice({
      greeting: '\ncore1>',
      reply(line) {
        if (line === 'enable') return 'enable\nPassword: '
        if (line === 'open-sesame') privileged = true
        if (line === 'show running-config') return shown(configuration)
        if (line === 'exit') return { text: '', after: 'cut' }
        return `${line}\n${prompt()}`
      },
    })
    const { artefacts, transcript } = await backUp(device.port, {
      login: { enablePassword: 'open-sesame' },
    })
    expect(artefacts[0]!.content).toContain('hostname core1')
    expect(transcript).toContain('<password>')
    expect(transcript).not.toContain('open-sesame')
  })

  test('answers a device that asks for the password itself', async () => {
    await using device = await playDevice(iosScript({ asks: true }))
    expect((await backUp(device.port)).artefacts).toHaveLength(1)
  })

  test('falls back to legacy algorithms for a device that has no others', async () => {
    const hostKey = ssh2.utils.generateKeyPairSync('rsa', { bits: 2048 }).private
    await using device = await playDevice(
      iosScript({
        hostKey,
        algorithms: {
          kex: ['diffie-hellman-group14-sha1'],
          cipher: ['aes128-cbc'],
          hmac: ['hmac-sha1'],
          serverHostKey: ['ssh-rsa'],
        },
      }),
    )
    const { artefacts, transcript } = await backUp(device.port)
    expect(artefacts).toHaveLength(1)
    expect(transcript).toContain('trying again with legacy algorithms')
  })

  test('asks again when a log message was written into the answer', async () => {
    const noisy = configuration.replace(
      '\nend',
      '\n*Aug 29 11:54:34.123: %LINK-3-UPDOWN: Interface Gi1, changed state to up\nend',
    )
    await using device = await playDevice(
      iosScript({ running: count => shown(count === 0 ? noisy : configuration) }),
    )
    const { artefacts } = await backUp(device.port)
    expect(artefacts[0]!.content).toBe(`!\n${configuration}\n`)
    expect(device.received.filter(line => line === 'show running-config')).toHaveLength(2)
  })

  test('believes in a much smaller configuration only if it is shown twice', async () => {
    await using steady = await playDevice(iosScript())
    const lastLength = () => 100_000
    expect((await backUp(steady.port, { lastLength })).artefacts).toHaveLength(1)

    await using wavering = await playDevice(
      iosScript({ running: count => shown(configuration.replace('core1', `core${count}`)) }),
    )
    const failure = await failureOf(backUp(wavering.port, { lastLength }))
    expect(failure).toMatchObject({ reason: 'incomplete' })
    expect(failure.message).toContain('second look')
  })
})

describe('a backup that fails says why, and shows how far it came', () => {
  test('unreachable: nobody listens', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    await new Promise(resolve => server.close(resolve))
    const failure = await failureOf(backUp(port))
    expect(failure).toMatchObject({ reason: 'unreachable' })
    expect(failure.message).toContain('ECONNREFUSED')
  })

  test('authentication: a wrong password', async () => {
    await using device = await playDevice(iosScript())
    const failure = await failureOf(backUp(device.port, { login: { password: 'wrong' } }))
    expect(failure.reason).toBe('authentication')
  })

  test('authentication: a private key that is none', async () => {
    await using device = await playDevice(iosScript())
    const failure = await failureOf(backUp(device.port, { login: { privateKey: 'nonsense' } }))
    expect(failure.reason).toBe('authentication')
  })

  test('authentication: the privileged level is refused', async () => {
    await using device = await playDevice({
      greeting: '\ncore1>',
      reply: line =>
        line === 'enable'
          ? 'enable\nPassword: '
          : `${line === 'let-me-in' ? '% Access denied' : line}\ncore1>`,
    })
    const failure = await failureOf(backUp(device.port))
    expect(failure).toMatchObject({ reason: 'authentication' })
    expect(failure.message).toContain('Access denied')
    expect(failure.evidence).not.toContain('let-me-in')
  })

  test('timeout: the device falls silent in the middle', async () => {
    await using device = await playDevice(
      iosScript({ running: () => ({ text: shown(configuration).slice(0, 900), after: 'stall' }) }),
    )
    const started = performance.now()
    const failure = await failureOf(backUp(device.port, { limits: { silenceMs: 600 } }))
    expect(failure.reason).toBe('timeout')
    expect(performance.now() - started).toBeLessThan(4000)
    expect(failure.evidence).toContain('hostname core1')
    expect(failure.evidence).not.toContain('topsecret')
  })

  test('timeout: something accepts the connection and says nothing', async () => {
    const server = createServer(socket => socket.on('error', () => {}).resume()).listen(
      0,
      '127.0.0.1',
    )
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const failure = await failureOf(backUp(port, { limits: { handshakeMs: 300 } }))
    expect(failure.reason).toBe('timeout')
    await new Promise(resolve => server.close(resolve))
  })

  test('timeout: the whole session takes too long, however busy it is', async () => {
    await using device = await playDevice(iosScript({ running: () => 'still building\n' }))
    const failure = await failureOf(
      backUp(device.port, { limits: { sessionMs: 900, silenceMs: 5000 } }),
    )
    expect(failure).toMatchObject({ reason: 'timeout' })
    expect(failure.message).toContain('session')
  })

  test('incomplete: the device cuts the connection', async () => {
    await using device = await playDevice(
      iosScript({ running: () => ({ text: shown(configuration).slice(0, 900), after: 'cut' }) }),
    )
    const failure = await failureOf(backUp(device.port))
    expect(failure.reason).toBe('incomplete')
    expect(failure.evidence).toContain('hostname core1')
  })

  test('incomplete: the end is missing although the prompt is back', async () => {
    await using device = await playDevice(
      iosScript({ running: () => shown(configuration.replace(/\nend$/, '')) }),
    )
    const failure = await failureOf(backUp(device.port))
    expect(failure).toMatchObject({ reason: 'incomplete' })
    expect(failure.message).toContain('the end is missing')
  })

  test('incomplete: a pager is left in the text', async () => {
    await using device = await playDevice(
      iosScript({ running: () => shown(configuration.replace('\n!\n', '\n --More-- \n!\n')) }),
    )
    const failure = await failureOf(backUp(device.port))
    expect(failure).toMatchObject({ reason: 'incomplete' })
    expect(failure.message).toContain('pager')
  })

  test('incomplete: log messages do not cease', async () => {
    const noisy = configuration.replace('\nend', '\n%SYS-5-CONFIG_I: Configured from console\nend')
    await using device = await playDevice(iosScript({ running: () => shown(noisy) }))
    const failure = await failureOf(backUp(device.port))
    expect(failure).toMatchObject({ reason: 'incomplete' })
    expect(failure.message).toContain('log message')
  })

  test('rejected: the user may not do that', async () => {
    await using device = await playDevice(
      iosScript({
        running: () =>
          "show running-config\n      ^\n% Invalid input detected at '^' marker.\n\ncore1#",
      }),
    )
    const failure = await failureOf(backUp(device.port))
    expect(failure).toMatchObject({ reason: 'rejected' })
    expect(failure.message).toContain('Invalid input')
  })

  test('host-key-changed: it is trusted on first use, and no other key afterwards', async () => {
    const hostKeys = rememberKeys()
    {
      await using device = await playDevice(iosScript({ hostKey: keys.one }))
      await backUp(device.port, { hostKeys })
      await backUp(device.port, { hostKeys })
      expect(hostKeys.known.get('device-1')).toMatch(/^ecdsa-sha2-nistp256 SHA256:[\w+/]{43}$/)
    }
    await using other = await playDevice(iosScript({ hostKey: keys.other }))
    const failure = await failureOf(backUp(other.port, { hostKeys }))
    expect(failure.reason).toBe('host-key-changed')
    expect(failure.message).toContain(hostKeys.known.get('device-1'))
    expect(other.received).toEqual([])
  })

  test('aborted: at once, whenever it comes', async () => {
    await using device = await playDevice(
      iosScript({ running: () => ({ text: 'Building', after: 'stall' }) }),
    )
    for (const after of [0, 30, 400]) {
      const abort = new AbortController()
      const backup = failureOf(
        backUp(device.port, { signal: abort.signal, limits: { silenceMs: 60_000 } }),
      )
      setTimeout(() => abort.abort(), after)
      const failure = await backup
      expect(failure.reason).toBe('aborted')
    }
  })
})

const noSshd =
  process.getuid?.() !== 0
    ? ' (skipped: only root may start sshd)'
    : spawnSync('/usr/sbin/sshd', ['-V']).error
      ? ' (skipped: no /usr/sbin/sshd)'
      : ''

describe('a Linux host', () => {
  test.skipIf(noSshd !== '')(
    `with OpenSSH and a key is backed up, file by file${noSshd}`,
    { timeout: 30_000 },
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'keepwatch-sshd-'))
      chmodSync(folder, 0o700)
      mkdirSync('/run/sshd', { recursive: true })
      const own = makeKey(join(folder, 'own'))
      copyFileSync(join(folder, 'own.pub'), join(folder, 'authorized_keys'))
      writeFileSync(join(folder, 'host'), keys.one, { mode: 0o600 })
      const port = await freePort()
      // biome-ignore format: an option a line
      const sshd = spawn('/usr/sbin/sshd', [
        '-D', '-e', '-f', '/dev/null', '-p', String(port), '-h', join(folder, 'host'),
        '-o', 'ListenAddress=127.0.0.1',
        '-o', `AuthorizedKeysFile=${join(folder, 'authorized_keys')}`,
        '-o', 'StrictModes=no', '-o', 'PermitRootLogin=prohibit-password',
        '-o', 'UsePAM=no', '-o', `PidFile=${join(folder, 'pid')}`,
      ], { stdio: 'ignore' })
      const ended = once(sshd, 'exit')
      try {
        await listening(port)
        const login = { username: 'root', password: undefined, privateKey: own }
        const { artefacts } = await backUp(port, { driver: 'linux-frr', login })
        // A running FRR answers by itself; without it, its file and the host's are taken.
        expect(artefacts[0]!.content).toMatch(/^(?:!\nfrr version|### \/etc\/)/m)
        const again = await backUp(port, { driver: 'linux-frr', login })
        expect(again.artefacts[0]!.hash).toBe(artefacts[0]!.hash)

        const stranger = { ...login, privateKey: makeKey(join(folder, 'stranger')) }
        const failure = await failureOf(backUp(port, { driver: 'linux-frr', login: stranger }))
        expect(failure.reason).toBe('authentication')
      } finally {
        sshd.kill()
        await ended
        rmSync(folder, { recursive: true })
      }
    },
  )
})

function makeKey(file: string): string {
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file])
  return readFileSync(file, 'utf8')
}

/** Waits until something accepts connections. */
async function listening(port: number): Promise<void> {
  const deadline = performance.now() + 10_000
  while (performance.now() < deadline) {
    const socket = tcp(port, '127.0.0.1')
    const reached = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (reached) return
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  throw new Error(`nothing listens on port ${port}`)
}
