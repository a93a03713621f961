import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type FileEntry,
  foldersOf,
  isDone,
  limits,
  type ManifestRefused,
  parseManifest,
  pathFault,
  planOf,
} from './manifest.ts'

const hashOf = (content: number) => content.toString(16).padStart(64, '0')
const file = (path: string, content = 1, mode = 0o644): FileEntry => ({
  path,
  size: content,
  sha256: hashOf(content),
  mode,
})
const version = 'f'.repeat(64)
const manifestOf = (files: object[]) =>
  JSON.stringify({ server: 'a', term: 3, version, roots: [{ name: 'drivers', files }] })

function reasonOf(text: string): string {
  try {
    parseManifest(text)
    return 'taken'
  } catch (error) {
    return (error as ManifestRefused).reason
  }
}

describe('a manifest', () => {
  test('is taken when every path is one in its root', () => {
    const files = [file('a'), file('b/c'), file('b/d'), file('schön ist es/…'), file('.hidden')]
    expect(parseManifest(manifestOf(files)).roots[0]!.files).toEqual(files)
  })

  test.each([
    '',
    '/etc/passwd',
    '..',
    '../x',
    'a/../../x',
    'a/./b',
    'a//b',
    'a/',
    './a',
    'a\\b',
    'a\0b',
    'a\nb',
    '.keepwatch-incoming/x',
    'x/.keepwatch-incoming',
    `${'n'.repeat(256)}`,
    `${'n/'.repeat(600)}n`,
    '\ud800',
  ])('with the path %j is refused', path => {
    expect(pathFault(path)).toBeDefined()
    expect(reasonOf(manifestOf([file('good'), file(path)]))).toBe('evil-path')
  })

  test('in which a path is there twice, or a file and a folder, is refused', () => {
    expect(reasonOf(manifestOf([file('a'), file('a')]))).toBe('evil-path')
    expect(reasonOf(manifestOf([file('a/b'), file('a')]))).toBe('evil-path')
    expect(reasonOf(manifestOf([file('a/b'), file('ab')]))).toBe('taken')
  })

  test('that is too large, or no manifest, is refused', () => {
    expect(reasonOf(manifestOf([file('a', limits.fileBytes + 1)]))).toBe('too-large')
    const many = Array.from({ length: limits.files + 1 }, (_, i) => file(`f${i}`))
    expect(reasonOf(manifestOf(many))).toBe('too-large')
    for (const text of ['', '{}', 'null', manifestOf([{ ...file('a'), mode: 0o4755 }])]) {
      expect(reasonOf(text), text).toBe('bad-manifest')
    }
    expect(reasonOf(manifestOf([{ ...file('a'), sha256: '../x' }]))).toBe('bad-manifest')
  })
})

/** A root on disk, as far as a plan can tell: files by path, and a rename into a folder fails. */
function carriedOut(present: readonly FileEntry[], wanted: readonly FileEntry[]): FileEntry[] {
  const plan = planOf(wanted, present)
  const disk = new Map(present.map(one => [one.path, one]))
  const contents = new Set([...disk.values(), ...plan.fetch].map(one => one.sha256))
  for (const path of plan.clear) disk.delete(path)
  for (const one of plan.place) {
    expect(contents, 'what is placed was there or fetched').toContain(one.sha256)
    for (const folder of foldersOf(one.path)) expect([...disk.keys()]).not.toContain(folder)
    const inside = [...disk.keys()].filter(path => path.startsWith(`${one.path}/`))
    expect(inside, 'no file is placed over a folder').toEqual([])
    disk.set(one.path, one)
  }
  for (const one of plan.change) disk.set(one.path, { ...disk.get(one.path)!, mode: one.mode })
  for (const path of plan.remove) disk.delete(path)
  return [...disk.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
}

describe('a plan', () => {
  const names = fc.constantFrom('a', 'b', 'c')
  const path = fc.array(names, { minLength: 1, maxLength: 3 }).map(parts => parts.join('/'))
  const entry = fc
    .tuple(path, fc.integer({ min: 0, max: 4 }), fc.constantFrom(0o600, 0o644))
    .map(([at, content, mode]) => file(at, content, mode))
  /** Files that can be on one disk: none is the folder of another. */
  const root = fc.array(entry, { maxLength: 8 }).map(files => {
    const kept = new Map<string, FileEntry>()
    for (const one of files) {
      const clash = [...kept.keys()].some(
        other => other.startsWith(`${one.path}/`) || one.path.startsWith(`${other}/`),
      )
      if (!clash) kept.set(one.path, one)
    }
    return [...kept.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
  })

  test('makes any root any other', () => {
    fc.assert(
      fc.property(root, root, (present, wanted) => {
        expect(carriedOut(present, wanted)).toEqual(wanted)
      }),
      { numRuns: 3000 },
    )
  })

  test('is empty for what is equal, and fetches nothing that is there', () => {
    fc.assert(
      fc.property(root, root, (present, wanted) => {
        expect(isDone(planOf(present, present))).toBe(true)
        const there = present.map(one => one.sha256)
        const fetched = planOf(wanted, present).fetch.map(one => one.sha256)
        expect(fetched.filter(hash => there.includes(hash))).toEqual([])
        expect(new Set(fetched).size, 'each content once').toBe(fetched.length)
      }),
    )
  })

  test('removes last what is in nobody’s way, so that a renamed file is always there', () => {
    const plan = planOf([file('new')], [file('old')])
    expect(plan).toMatchObject({ fetch: [], clear: [], remove: ['old'] })
    expect(planOf([file('a/b', 2)], [file('a')]).clear).toEqual(['a'])
    expect(planOf([file('a', 2)], [file('a/b')]).clear).toEqual(['a/b'])
  })
})
