/** Sessions of real devices, replayed through a real SSH server in random pieces. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { collectConfiguration } from '../../src/devices/backup.ts'
import { maskSecrets } from '../../src/devices/drivers/driver.ts'
import { drivers } from '../../src/devices/drivers/index.ts'
import { createSessions } from '../../src/devices/session.ts'
import { normalise } from '../../src/devices/versions.ts'
import { playDevice } from '../fixtures/devices/scripted-device.ts'

const folder = join(import.meta.dirname, '../../../shared/captures/cli')
const present = existsSync(folder)
const ios = drivers.get('cisco-ios')!
if (ios.channel !== 'shell') throw new Error('the driver of IOS leads a dialogue')

const names = present ? readdirSync(folder).filter(name => name.startsWith('ios#')) : []
const sessions = names.filter(name => name.endsWith('#simulation.yaml'))

interface Session {
  init_prompt: string
  commands: Record<string, string> | Record<string, string>[]
}

/** Strings in these files carry escapes of their own: `\x20`, `\"`, `\e`. */
function withoutEscapes(text: string): string {
  return text.replace(/\\(?:x([0-9a-fA-F]{2})|([ertnb"\\]))/g, (_all, hex, letter) =>
    hex ? String.fromCharCode(Number.parseInt(hex, 16)) : escapes[letter as keyof typeof escapes],
  )
}
const escapes = { e: '\x1b', r: '\r', t: '\t', n: '\n', b: '\b', '"': '"', '\\': '\\' }

function readSession(name: string) {
  const session = parse(readFileSync(join(folder, name), 'utf8')) as Session
  const steps = Array.isArray(session.commands) ? session.commands : [session.commands]
  const answers = new Map<string, string>()
  for (const step of steps) {
    for (const [command, text] of Object.entries(step)) {
      answers.set(withoutEscapes(command).trimEnd(), withoutEscapes(text ?? ''))
    }
  }
  const greeting = withoutEscapes(session.init_prompt)
  return { greeting, prompt: greeting.slice(greeting.lastIndexOf('\n') + 1), answers }
}

async function backUp(name: string) {
  const { greeting, prompt, answers } = readSession(name)
  await using device = await playDevice({
    greeting,
    reply: line => answers.get(line) ?? (line === '' ? `\n${prompt}` : { text: '', after: 'cut' }),
  })
  const { artefacts } = await collectConfiguration(
    createSessions({ hostKeys: { get: async () => undefined, set: async () => {} } }),
    {
      id: name,
      name,
      address: '127.0.0.1',
      port: device.port,
      driver: ios,
      login: { username: 'backup', password: 'let-me-in' },
    },
    { signal: AbortSignal.timeout(20_000), lastLength: () => undefined },
  )
  return artefacts[0]!.content
}

/** The configuration in another program's reading, which puts facts before it as comments. */
function expectedOutput(name: string): string {
  const output = readFileSync(join(folder, name.replace('#simulation.yaml', '#output.txt')), 'utf8')
  return output.slice(output.indexOf('!\n! Last configuration change'))
}

const skip = present ? '' : ` (skipped: no captures in ${folder})`

describe('captured sessions of IOS', () => {
  test.skipIf(skip !== '')(`are there to be replayed${skip}`, () => {
    expect(sessions.length).toBeGreaterThan(1)
  })

  for (const name of sessions) {
    test(`${name}: the whole configuration comes out, line by line`, {
      timeout: 30_000,
    }, async () => {
      const content = await backUp(name)
      const comparable = content.replace(/^( +expression) \d+$/gm, '$1 <value removed>')
      expect(comparable.trimEnd()).toBe(expectedOutput(name).trimEnd())
    })

    test(`${name}: who changed it last is taken from its header`, () => {
      const { answers } = readSession(name)
      const { author, changedAt } = normalise(ios, answers.get('show running-config')!)
      expect(author).toMatch(/^\w+$/)
      expect(changedAt).toMatch(/^\d\d:\d\d:\d\d .* 2024$/)
    })
  }

  for (const name of names.filter(name => name.endsWith('#secret.yaml'))) {
    test(`${name}: no secret of the list is shown`, { timeout: 30_000 }, async () => {
      const expectations = parse(readFileSync(join(folder, name), 'utf8')) as {
        pass?: string[]
        fail?: string[]
      }
      const content = await backUp(name.replace('#secret.yaml', '#simulation.yaml'))
      const masked = maskSecrets(ios, content)
      expect(expectations.fail?.length).toBeGreaterThan(0)
      for (const secret of expectations.fail ?? []) {
        expect(content).toContain(secret)
        expect(masked).not.toContain(secret)
      }
      for (const kept of expectations.pass ?? []) expect(masked).toContain(kept)
      expect(maskSecrets(ios, masked)).toBe(masked)
    })
  }

  for (const name of names.filter(name => name.endsWith('#prompt.yaml'))) {
    test(`${name}: prompts are known as such, and nothing else is`, () => {
      const expectations = parse(readFileSync(join(folder, name), 'utf8')) as {
        pass: string[]
        fail: string[]
      }
      for (const prompt of expectations.pass) expect(prompt).toMatch(ios.shell.prompt.any)
      for (const line of expectations.fail) expect(line).not.toMatch(ios.shell.prompt.any)
    })
  }
})
