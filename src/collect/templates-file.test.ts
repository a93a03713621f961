import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createLog } from '../lib/log.ts'
import { createTemplatesFile } from './templates-file.ts'

let dir: string
let file: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'keepwatch-templates-'))
  file = join(dir, 'templates.json')
})
afterEach(() => rmSync(dir, { recursive: true }))

function setup() {
  const templates = {
    version: 0,
    content: {} as unknown,
    export: () => ({ content: templates.content }),
    import(snapshot: unknown) {
      templates.content = (snapshot as { content: unknown }).content
      return 1
    },
  }
  let now = 0
  const clock = { wall: () => 0, monotonic: () => now++ * 1000 }
  const log = createLog({ level: 'silent', part: 'test' })
  return { templates, file: createTemplatesFile({ templates: () => templates, log, clock }, file) }
}

test('templates survive a restart, and are written only when they changed', async () => {
  const first = setup()
  first.file.load()
  await first.file.save()
  expect(existsSync(file)).toBe(false)
  first.templates.content = 'of exporter 1'
  first.templates.version++
  // Each reading of this clock is a second later: a snapshot takes 1 s, so the next waits for 50 s.
  await first.file.save()
  const second = setup()
  second.file.load()
  expect(second.templates.content).toBe('of exporter 1')
  first.templates.content = 'of exporter 2'
  first.templates.version++
  await first.file.save()
  expect(readFileSync(file, 'utf8')).toContain('exporter 1')
  await first.file.save(true)
  expect(readFileSync(file, 'utf8')).toContain('exporter 2')
})

test('a file that cannot be read is put aside', () => {
  writeFileSync(file, '{"content": ')
  const { file: it, templates } = setup()
  it.load()
  expect(templates.content).toEqual({})
  expect(existsSync(file)).toBe(false)
  expect(readFileSync(`${file}.damaged`, 'utf8')).toBe('{"content": ')
})
