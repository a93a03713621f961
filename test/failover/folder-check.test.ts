/** The check of a shared folder by both servers, over the link. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import type { LinkRoute } from '../../src/collect/link.ts'
import {
  checkFolder,
  deploymentOf,
  folderRoute,
  type OtherFolder,
  otherFolder,
  prepareFolder,
} from '../../src/failover/folder/check.ts'
import type { Finding } from '../../src/failover/preflight/finding.ts'
import { type Identity, openAuthority } from '../../src/lib/tls.ts'
import { serveRoutes } from './files-lab.ts'
import { createFolderLab, type FolderLab, hasSshfs, isRoot } from './folder-lab.ts'

vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 })

let authority: string
let identities: { a: Identity; b: Identity }
let link: { port: number; close(): Promise<void> }
let lab: FolderLab
beforeAll(async () => {
  authority = mkdtempSync(join(tmpdir(), 'keepwatch-check-'))
  const opened = await openAuthority(authority)
  const issue = (name: string) => opened.issue({ role: 'server', name, hosts: ['127.0.0.1'] })
  identities = { a: await issue('a'), b: await issue('b') }
  const route: LinkRoute = folderRoute({ ...config('b') })
  link = await serveRoutes(identities.b, () => [route])
})
afterAll(async () => {
  await link.close()
  rmSync(authority, { recursive: true })
})
beforeEach(() => {
  lab = createFolderLab()
})
afterEach(() => lab.close())

const config = (server: string) => ({
  server,
  deployment: deploymentOf(identities.a),
  dataDir: authority,
})
const other = (): OtherFolder =>
  otherFolder({ identity: identities.a }, { name: 'b', host: '127.0.0.1', port: link.port })
const results = (findings: Finding[]) =>
  Object.fromEntries(findings.map(({ id, result }) => [id.replace('folder-', ''), result]))
const empty = (name: string) => {
  const path = join(lab.dir, name)
  mkdirSync(path)
  return path
}

test('both servers read what the other wrote, and nothing of it is left', async () => {
  const path = empty('shared')
  const findings = await checkFolder(path, config('a'), other())
  // Here it is on this machine's own disk, which is what the warning says.
  expect(results(findings)).toEqual({
    there: 'pass',
    mount: 'warning',
    ours: 'pass',
    space: 'pass',
    git: 'pass',
    write: 'pass',
    clock: 'pass',
    both: 'pass',
  })
  expect(readdirSync(path)).toEqual([])
})

test('a folder that is not there, a stranger’s, or another deployment’s fails with what to do', async () => {
  const nowhere = await checkFolder(join(lab.dir, 'nowhere'), config('a'))
  expect(results(nowhere)).toEqual({ there: 'failure' })
  expect(nowhere[0]!.whatToDo).toContain('mount the shared folder there')
  const strangers = empty('strangers')
  writeFileSync(join(strangers, 'photo.jpg'), '')
  const found = await checkFolder(strangers, config('a'))
  expect(found.find(({ id }) => id === 'folder-ours')).toMatchObject({ result: 'failure' })
  await expect(prepareFolder(strangers, config('a'))).rejects.toThrow('photo.jpg')
  const others = lab.folder('others')
  expect(results(await checkFolder(others, config('a'))).ours).toBe('failure')
  await expect(prepareFolder(others, config('a'))).rejects.toThrow('another deployment')
})

test('a folder is prepared once, and then it is ours', async () => {
  const path = empty('shared')
  expect(await prepareFolder(path, config('a'))).toBe('prepared')
  expect(await prepareFolder(path, config('b'))).toBe('ours')
  expect(results(await checkFolder(path, config('b'))).ours).toBe('pass')
  const shared = lab.shared(path, { deployment: config('a').deployment })
  await shared.start()
  await vi.waitUntil(() => shared.state().usable, 30_000)
})

test('another server that has another folder there is found out', async () => {
  const path = empty('shared')
  // As if its mount were missing: it looks into another folder at the same path.
  const elsewhere: OtherFolder = {
    name: 'b',
    exchange: question => other().exchange({ ...question, path: empty('elsewhere') }),
  }
  const findings = await checkFolder(path, config('a'), elsewhere)
  expect(findings.find(({ id }) => id === 'folder-both')).toMatchObject({
    result: 'failure',
    text: expect.stringContaining('b does not see what was written here'),
  })
  expect(readdirSync(path)).toEqual([])
})

test('the route reads and writes nothing but files of a check', async () => {
  const path = empty('shared')
  writeFileSync(join(path, 'secret'), 'secret')
  const question = { path, read: '../secret', write: 'secret' }
  await expect(other().exchange(question)).rejects.toThrow('answered 400')
})

test.skipIf(!isRoot)('a read-only and a full folder fail (needs root)', async () => {
  const readOnly = lab.tmpfs('ro', 'size=1m,ro')
  const found = await checkFolder(readOnly, config('a'))
  expect(found.find(({ id }) => id === 'folder-write')).toMatchObject({
    result: 'failure',
    text: expect.stringContaining('read-only'),
  })
  const small = lab.tmpfs('small', 'size=32k')
  expect(results(await checkFolder(small, config('a')))).toMatchObject({
    space: 'warning',
    write: 'failure',
  })
})

test.skipIf(!hasSshfs)(
  'a folder of another machine passes, and one that hangs fails in time (needs root, FUSE and sshfs)',
  async () => {
    const mounted = await lab.sshfs('shared')
    rmSync(join(mounted.behind, '.keepwatch.json'))
    const findings = await checkFolder(mounted.path, config('a'), other())
    const { space, ...rest } = results(findings)
    expect(space).toBeDefined()
    expect(new Set(Object.values(rest)), JSON.stringify(findings)).toEqual(new Set(['pass']))
    mounted.hang()
    const hung = await checkFolder(mounted.path, config('a'), other())
    expect(hung).toMatchObject([{ id: 'folder-there', result: 'failure' }])
    expect(hung[0]!.text).toContain('does not answer')
    mounted.recover()
  },
)
