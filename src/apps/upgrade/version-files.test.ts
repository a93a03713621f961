import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { copyFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type FileSource, faultIn, filesUnder, manifestOf, putTogether } from './version-files.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'keepwatch-version-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function write(folder: string, files: Record<string, string>) {
  for (const [path, text] of Object.entries(files)) {
    const file = join(root, folder, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
  }
}

/** Gives the same for every file. */
const always = (text: string): FileSource => ({
  fetch: (_wanted, into) => writeFile(into, text),
  trusted: false,
})

describe('a version that travels', () => {
  test('arrives whole, and only what is new is fetched', async () => {
    write('old', { 'lib/engine.node': 'the engine', 'dist/main.js': 'one' })
    write('new', { 'lib/motor.node': 'the engine', 'dist/main.js': 'two', 'bin/run': '#!/bin/sh' })
    chmodSync(join(root, 'new/bin/run'), 0o755)
    symlinkSync('../bin/run', join(root, 'new/lib/run'))
    const manifest = await manifestOf('0.3.0', join(root, 'new'))
    const known = {
      folder: join(root, 'old'),
      manifest: await manifestOf('0.2.0', join(root, 'old')),
    }
    const asked: string[] = []
    const fetched = await putTogether(manifest, join(root, 'copy'), known, {
      fetch({ path }, into) {
        asked.push(path)
        return copyFile(join(root, 'new', path), into)
      },
      trusted: false,
    })
    expect(fetched).toEqual({ files: 2, bytes: 12 })
    expect(asked).toEqual(['bin/run', 'dist/main.js'])
    // Stored once, whatever it is called there.
    const inode = (file: string) => statSync(join(root, file)).ino
    expect(inode('copy/lib/motor.node')).toBe(inode('old/lib/engine.node'))
    expect(await manifestOf('0.3.0', join(root, 'copy'))).toEqual(manifest)
    expect(readFileSync(join(root, 'copy/lib/run'), 'utf8')).toBe('#!/bin/sh')
    expect(statSync(join(root, 'copy/bin/run')).mode & 0o777).toBe(0o755)
  })

  test('that arrives damaged is not kept', async () => {
    write('new', { 'dist/main.js': 'right' })
    const manifest = await manifestOf('0.3.0', join(root, 'new'))
    await expect(
      putTogether(manifest, join(root, 'copy'), undefined, always('wrong')),
    ).rejects.toThrow('dist/main.js arrived damaged')
    expect(await filesUnder(join(root, 'copy'))).toEqual([])
  })

  test('goes on where it was interrupted', async () => {
    write('new', { a: 'first', b: 'second' })
    const manifest = await manifestOf('0.3.0', join(root, 'new'))
    write('copy', { a: 'first', 'of/another': 'attempt' })
    const fetched = await putTogether(manifest, join(root, 'copy'), undefined, always('second'))
    expect(fetched.files).toBe(1)
    expect(await manifestOf('0.3.0', join(root, 'copy'))).toEqual(manifest)
  })

  const sha256 = '0'.repeat(64)
  test.each([
    ['../outside', { path: '../outside', size: 1, sha256, mode: 0o644 }],
    ['/etc/passwd', { path: '/etc/passwd', size: 1, sha256, mode: 0o644 }],
    ['a link out', { path: 'a/b', link: '../../outside' }],
    ['an absolute link', { path: 'a', link: '/etc/passwd' }],
  ])('with %s is refused', (_what, entry) => {
    expect(faultIn({ version: '0.3.0', entries: [entry] })).toBeDefined()
  })

  test('with a file under a link is refused', () => {
    const entries = [
      { path: 'a', link: 'b' },
      { path: 'a/c', size: 1, sha256, mode: 0o644 },
    ]
    expect(faultIn({ version: '0.3.0', entries })).toBe('a/c lies under a link')
  })
})
