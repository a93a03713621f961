import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { parseSettings, readSettings, SettingsError, unusableSetting } from './settings.ts'

const schema = z.strictObject({
  name: z.string().min(1),
  mode: z.enum(['fast', 'safe']).default('safe'),
  listen: z
    .strictObject({ port: z.number().int().max(65_535), host: z.string().optional() })
    .prefault({ port: 1 }),
  servers: z
    .array(z.strictObject({ url: z.string() }))
    .min(1)
    .default([{ url: 'a' }]),
})

function complaint(text: string): string[] {
  try {
    parseSettings(text, 'site.yaml', schema)
  } catch (error) {
    if (error instanceof SettingsError) return error.message.split('\n')
    throw error
  }
  throw new Error('it was accepted')
}

test('settings of the right form are read, with what is left out filled in', () => {
  expect(parseSettings('name: a\nlisten: {port: 5}', 'site.yaml', schema)).toEqual({
    name: 'a',
    mode: 'safe',
    listen: { port: 5 },
    servers: [{ url: 'a' }],
  })
})

test.each([
  ['name: a\nmode: slow', 'site.yaml:2: mode: must be "fast" or "safe"'],
  ['name: a\nlisten:\n  port: http', 'site.yaml:3: listen.port: must be a number, and is text'],
  ['name: a\nlisten:\n  port: 1.5', 'site.yaml:3: listen.port: must be a whole number'],
  ['name: a\nlisten:\n  port: 70000', 'site.yaml:3: listen.port: must be at most 65535'],
  ['name: a\nlisten: 5', 'site.yaml:2: listen: must be a group of settings, and is a number'],
  ['name: a\nlisten:\n  port:', 'site.yaml:3: listen.port: must be a number, and is empty'],
  ['name: ""', 'site.yaml:1: name: must have at least 1 character'],
  ['name: a\nservers: []', 'site.yaml:2: servers: must have at least 1 item'],
  [
    'name: a\nservers:\n  - url: b\n  - {}',
    'site.yaml:4: servers.1.url: is missing; it must be text',
  ],
  [
    'name: a\nlisten:\n  port: 1\n  hots: b',
    'site.yaml:4: listen.hots: there is no such setting; there are port, host',
  ],
  [
    'name: a\nservers:\n  - url: b\n    weight: 3',
    'site.yaml:4: servers.0.weight: there is no such setting; there are url',
  ],
  ['', 'site.yaml:1: name: is missing; it must be text'],
  ['- a', 'site.yaml:1: must be a group of settings, and is a list'],
])('of %j is said: %s', (text, message) => {
  expect(complaint(text)).toEqual([message])
})

test('everything that is wrong is said at once', () => {
  expect(complaint('mode: slow\nbogus: 1\nother: 2')).toHaveLength(4)
})

test('a file that is no YAML is said with its line', () => {
  expect(complaint('name: a\nservers: [b\n')[0]).toMatch(/^site\.yaml:\d: \S/)
})

test('a value is never repeated: it may be a secret', () => {
  const text = 'name: [hunter2]\nmode: hunter2\nlisten: hunter2\nservers: hunter2'
  expect(complaint(text).join()).not.toContain('hunter2')
})

test('a file that cannot be read is named', () => {
  expect(() => readSettings('/nowhere/site.yaml', schema)).toThrow(/^\/nowhere\/site.yaml: cannot/)
})

test('a setting that turns out to be unusable is said with its line', () => {
  const folder = mkdtempSync(join(tmpdir(), 'keepwatch-settings-'))
  try {
    const file = join(folder, 'site.yaml')
    writeFileSync(file, 'name: a\nlisten:\n  host: b\n')
    const say = (key: string) => unusableSetting(file, key, 'is taken').message
    expect(say('listen.host')).toBe(`${file}:3: listen.host: is taken`)
    expect(say('listen.port')).toBe(`${file}:2: listen.port: is taken`)
    rmSync(file)
    expect(say('listen.port')).toBe(`${file}: listen.port: is taken`)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
