import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTermFile } from './term-file.ts'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keepwatch-term-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('the term on the local disk', () => {
  test('is what was written last, also in a folder that is made for it', async () => {
    const file = createTermFile(join(folder, 'data', 'term.json'))
    expect(file.read()).toBeUndefined()
    await file.write({ term: 5, database: 'x/1', leaseMs: 10_000 })
    await file.write({ term: 6, database: undefined, leaseMs: 3000 })
    expect(file.read()).toEqual({ term: 6, database: undefined, leaseMs: 3000 })
    expect(await readdir(join(folder, 'data'))).toEqual(['term.json'])
  })

  test('is read also where an earlier version wrote less', async () => {
    const path = join(folder, 'short.json')
    await writeFile(path, '{"term":7}')
    expect(createTermFile(path).read()).toEqual({ term: 7, database: undefined, leaseMs: 0 })
  })

  test('that is damaged is refused with what it must be', async () => {
    const path = join(folder, 'damaged.json')
    await writeFile(path, '{"term":')
    expect(() => createTermFile(path).read()).toThrow('it must hold {"term"')
  })
})
