/** Files from the active to the standby, whatever is edited, killed, or announced with ill intent. */
import { type ChildProcess, spawn } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { LinkRoute } from '../../src/collect/link.ts'
import type { FileEntry } from '../../src/failover/files/manifest.ts'
import type { Root } from '../../src/failover/files/scan.ts'
import { createFileSync, type FileSync } from '../../src/failover/files/sync.ts'
import { type Identity, openAuthority } from '../../src/lib/tls.ts'
import { contentsOf, serveRoutes, write } from './files-lab.ts'
import type { FilesMemberSettings } from './files-member.ts'
import { base, until } from './folder-lab.ts'

vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 })

const identities: Record<string, Identity> = {}
beforeAll(async () => {
  const dir = mkdtempSync(join(tmpdir(), 'keepwatch-files-'))
  const authority = await openAuthority(dir)
  for (const name of ['a', 'b']) {
    identities[name] = await authority.issue({ role: 'server', name, hosts: ['127.0.0.1'] })
  }
  rmSync(dir, { recursive: true })
})

let dir: string
let ends: (() => Promise<void> | void)[]
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'keepwatch-files-'))
  ends = []
})
afterEach(async () => {
  for (const end of ends.reverse()) await end()
  rmSync(dir, { recursive: true, force: true })
})

const folder = (name: string) => {
  mkdirSync(join(dir, name), { recursive: true })
  return join(dir, name)
}

/** A server's end: active in a term, or a standby of the one at the port. */
function server(name: 'a' | 'b', roots: Root[], role: { term?: number; port?: number }) {
  const applied: string[] = []
  const deps = base()
  const sync = createFileSync(
    {
      ...deps,
      identity: identities[name]!,
      term: () => role.term,
      highestTerm: () => 2,
      active: () =>
        role.port === undefined
          ? undefined
          : { name: name === 'a' ? 'b' : 'a', host: '127.0.0.1', port: role.port },
      onApplied: (root, paths) => applied.push(...paths.map(path => `${root}/${path}`)),
    },
    { server: name, roots, intervalMs: 50 },
  )
  ends.push(() => sync.stop())
  const problems = async () =>
    (await deps.metrics.getMetricsAsJSON()).flatMap(metric =>
      metric.name === 'keepwatch_files_problems_total'
        ? metric.values.map(value => [String(value.labels.reason), value.value] as const)
        : [],
    )
  return { sync, applied, problems: async () => Object.fromEntries(await problems()) }
}

/** What the active answers, as the link takes it. */
async function serve(sync: FileSync) {
  const routes: readonly LinkRoute[] = sync.routes
  const link = await serveRoutes(identities.a!, () => routes)
  ends.push(() => link.close())
  return link
}

async function pair(rootsOfA: Root[], rootsOfB: Root[]) {
  const role: { term?: number } = { term: 3 }
  const a = server('a', rootsOfA, role)
  const link = await serve(a.sync)
  const standing: { term?: number; port?: number } = { port: link.port }
  const b = server('b', rootsOfB, standing)
  await b.sync.start()
  return { a, b, link, role, standing, pulled: () => b.sync.pullNow(30_000) }
}

describe('a standby', () => {
  test('has the active’s files, edited, renamed, removed and with their permissions', async () => {
    const [from, to] = [folder('a'), folder('b')]
    write(from, 'server.key', 'secret', 0o600)
    write(from, 'deep/er/x', 'x'.repeat(3_000_000))
    write(from, 'empty', '')
    write(to, 'stale', 'of an older active')
    const { a, b, pulled } = await pair(
      [{ name: 'certificates', folder: from }],
      [{ name: 'certificates', folder: to }],
    )
    expect(await pulled()).toBe(true)
    expect(contentsOf(to)).toEqual(contentsOf(from))
    expect(b.applied.sort()).toEqual([
      'certificates/deep/er/x',
      'certificates/empty',
      'certificates/server.key',
      'certificates/stale',
    ])
    renameSync(join(from, 'deep'), join(from, 'deeper'))
    write(from, 'server.key', 'other!', 0o640)
    rmSync(join(from, 'empty'))
    write(from, 'empty/no/more', 'x')
    expect(await pulled()).toBe(true)
    expect(contentsOf(to)).toEqual(contentsOf(from))
    expect(existsSync(join(to, 'deep'))).toBe(false)
    expect(b.sync.state()).toMatchObject({
      role: 'following',
      files: 3,
      behindFiles: 0,
      behindBytes: 0,
      lastError: null,
    })
    const { standby } = a.sync.state()
    expect(standby).toMatchObject({ server: 'b', behindFiles: 0 })
  })

  test('asks for no content while nothing changes, nor for one that it has by another name', async () => {
    const [from, to] = [folder('a'), folder('b')]
    write(from, 'one', 'x'.repeat(100_000))
    const { b, link, pulled } = await pair(
      [{ name: 'drivers', folder: from }],
      [{ name: 'drivers', folder: to }],
    )
    expect(await pulled()).toBe(true)
    const contents = () => link.requests.filter(one => one.includes('files/')).length
    expect(contents()).toBe(1)
    write(from, 'copies/two', 'x'.repeat(100_000))
    write(from, 'copies/three', 'x'.repeat(100_000))
    rmSync(join(from, 'one'))
    expect(await pulled()).toBe(true)
    expect(await pulled()).toBe(true)
    expect(contentsOf(to)).toEqual(contentsOf(from))
    expect(contents()).toBe(1)
    expect(b.sync.state().lagMs).toBeLessThan(5000)
  })

  test('puts right what somebody changed on its side', async () => {
    const [from, to] = [folder('a'), folder('b')]
    write(from, 'x/y', 'right')
    const { pulled } = await pair(
      [{ name: 'drivers', folder: from }],
      [{ name: 'drivers', folder: to }],
    )
    expect(await pulled()).toBe(true)
    write(to, 'x/y', 'wrong')
    write(to, 'x/z', 'surplus')
    expect(await pulled()).toBe(true)
    expect(contentsOf(to)).toEqual(contentsOf(from))
    const outside = folder('outside')
    write(outside, 'y', 'not yours')
    rmSync(join(to, 'x'), { recursive: true })
    symlinkSync(outside, join(to, 'x'))
    expect(await pulled()).toBe(true)
    expect(contentsOf(to)).toEqual(contentsOf(from))
    expect(contentsOf(outside), 'a link leads nobody out of the root').toEqual({
      y: '640 not yours',
    })
  })

  test('touches no root that not both name, nor a file that is not let into one', async () => {
    const roots = Object.fromEntries(
      ['a1', 'a2', 'a3', 'b1', 'b2', 'b3'].map(name => [name, folder(name)]),
    )
    write(roots.a1!, 'x', 'x')
    write(roots.a2!, 'x', 'x')
    write(roots.a3!, 'templates.json', '{}')
    write(roots.a3!, 'flow/1.seg', 'not to be sent')
    write(roots.b2!, 'own', 'stays')
    write(roots.b3!, 'other', 'stays')
    const received = join(dir, 'received')
    const { b, pulled } = await pair(
      [
        { name: 'drivers', folder: roots.a1! },
        { name: 'only-a', folder: roots.a2! },
        { name: 'flow', folder: roots.a3!, only: ['templates.json'] },
      ],
      [
        { name: 'drivers', folder: roots.b1! },
        { name: 'only-b', folder: roots.b2! },
        { name: 'flow', folder: roots.b3!, received, only: ['templates.json'] },
      ],
    )
    expect(await pulled()).toBe(true)
    expect(Object.keys(contentsOf(roots.b1!))).toEqual(['x'])
    expect(contentsOf(roots.b2!)).toEqual({ own: '640 stays' })
    expect(contentsOf(roots.b3!)).toEqual({ other: '640 stays' })
    expect(Object.keys(contentsOf(received))).toEqual(['templates.json'])
    expect((await b.problems())['root-not-ours']).toBeGreaterThan(0)
  })

  test('is told of no file that a link leads to', async () => {
    const [from, to, outside] = [folder('a'), folder('b'), folder('outside')]
    write(outside, 'secret', 'secret')
    write(from, 'x', 'x')
    symlinkSync(join(outside, 'secret'), join(from, 'file'))
    symlinkSync(outside, join(from, 'folder'))
    const { link, pulled } = await pair(
      [{ name: 'drivers', folder: from }],
      [{ name: 'drivers', folder: to }],
    )
    expect(await pulled()).toBe(true)
    expect(contentsOf(to)).toEqual({ x: '640 x' })
    expect(link.requests.filter(one => one.includes('files/'))).toHaveLength(1)
  })

  test('keeps its files when the active’s folder is gone: missing is not empty', async () => {
    const [from, to] = [folder('a'), folder('b')]
    write(from, 'x', 'x')
    const { a, pulled } = await pair(
      [{ name: 'reports', folder: from }],
      [{ name: 'reports', folder: to }],
    )
    expect(await pulled()).toBe(true)
    renameSync(from, `${from}-away`)
    await sleep(600)
    expect(await pulled()).toBe(true)
    expect(Object.keys(contentsOf(to))).toEqual(['x'])
    expect((await a.problems())['root-unreadable']).toBeGreaterThan(0)
  })

  test('that becomes active changes no file any more, also of a round under way', async () => {
    const [from, to] = [folder('a'), folder('b')]
    write(from, 'x', 'old')
    const { b, standing, pulled } = await pair(
      [{ name: 'drivers', folder: from }],
      [{ name: 'drivers', folder: to }],
    )
    expect(await pulled()).toBe(true)
    standing.term = 4
    write(from, 'x', 'of the old active')
    await sleep(1200)
    expect(readFileSync(join(to, 'x'), 'utf8')).toBe('old')
    expect(b.sync.state()).toMatchObject({ role: 'serving', lagMs: null })
  })

  test('follows nobody who is not active, or in an older term than it knows of', async () => {
    const [from, to] = [folder('a'), folder('b')]
    write(from, 'x', 'x')
    const { b, role, pulled } = await pair(
      [{ name: 'drivers', folder: from }],
      [{ name: 'drivers', folder: to }],
    )
    role.term = 1
    await until('it is refused', async () => ((await b.problems())['older-term'] ?? 0) > 0)
    delete role.term
    await until('it is told', () => b.sync.state().lastError?.includes('not active') === true)
    expect(contentsOf(to)).toEqual({})
    role.term = 3
    expect(await pulled()).toBe(true)
    expect(Object.keys(contentsOf(to))).toEqual(['x'])
  })
})

test('a manifest with evil paths changes nothing and is counted', async () => {
  const to = folder('b')
  write(to, 'good', 'stays')
  const sha256 = 'a'.repeat(64)
  const evil = ['../outside', '/etc/evil', 'x/../../outside', '.keepwatch-incoming/x', 'a\\..\\b']
  let files: FileEntry[] = []
  const route: LinkRoute = {
    method: 'GET',
    prefix: '/link/v1/files',
    role: 'server',
    async answer(_request, response) {
      const manifest = {
        server: 'a',
        term: 3,
        version: sha256,
        roots: [{ name: 'drivers', files }],
      }
      response.end(JSON.stringify(manifest))
    },
  }
  const link = await serveRoutes(identities.a!, () => [route])
  ends.push(() => link.close())
  const b = server('b', [{ name: 'drivers', folder: to }], { port: link.port })
  await b.sync.start()
  for (const path of evil) {
    const before = (await b.problems())['evil-path'] ?? 0
    files = [{ path, size: 1, sha256, mode: 0o644 }]
    await until(`${path} is refused`, async () => ((await b.problems())['evil-path'] ?? 0) > before)
  }
  expect(b.sync.state().lastError).toContain('a\\\\..\\\\b')
  expect(contentsOf(to)).toEqual({ good: '640 stays' })
  expect(contentsOf(dir)).toEqual({ 'b/good': '640 stays' })
})

test('content that is not what its hash says is thrown away and asked for again', async () => {
  const [from, to] = [folder('a'), folder('b')]
  write(from, 'x', 'right'.repeat(1000))
  const a = server('a', [{ name: 'drivers', folder: from }], { term: 3 })
  let lies = 2
  const lying: LinkRoute = {
    ...a.sync.routes[0]!,
    async answer(request, response, caller) {
      if (request.url!.includes('files/') && lies-- > 0) {
        response.end('wrong'.repeat(1000))
        return
      }
      await a.sync.routes[0]!.answer(request, response, caller)
    },
  }
  const link = await serveRoutes(identities.a!, () => [lying])
  ends.push(() => link.close())
  const b = server('b', [{ name: 'drivers', folder: to }], { port: link.port })
  await b.sync.start()
  expect(await b.sync.pullNow(30_000)).toBe(true)
  expect(contentsOf(to)).toEqual(contentsOf(from))
  expect((await b.problems())['content-wrong']).toBe(2)
})

test('a transfer that broke goes on where it was', async () => {
  const [from, to] = [folder('a'), folder('b')]
  write(from, 'big', Buffer.alloc(8_000_000, 'ab'))
  const a = server('a', [{ name: 'reports', folder: from }], { term: 3 })
  const ranges: (string | undefined)[] = []
  let breaks = 3
  const breaking: LinkRoute = {
    ...a.sync.routes[0]!,
    async answer(request, response, caller) {
      if (request.url!.includes('files/')) {
        ranges.push(request.headers.range)
        if (breaks-- > 0) setTimeout(() => response.destroy(), 15)
      }
      await a.sync.routes[0]!.answer(request, response, caller)
    },
  }
  const link = await serveRoutes(identities.a!, () => [breaking])
  ends.push(() => link.close())
  const b = server('b', [{ name: 'reports', folder: to }], { port: link.port })
  await b.sync.start()
  expect(await b.sync.pullNow(60_000)).toBe(true)
  expect(contentsOf(to)).toEqual(contentsOf(from))
  console.log(`ranges asked for: ${ranges.map(range => range ?? 'all').join(', ')}`)
})

describe('whatever happens to the standby’s process', () => {
  const program = fileURLToPath(new URL('./files-member.ts', import.meta.url))

  function member(settings: FilesMemberSettings) {
    const child: ChildProcess = spawn(process.execPath, [program, JSON.stringify(settings)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const lines = createInterface(child.stdout!)
    const exited = new Promise<void>(resolve => child.once('exit', () => resolve()))
    const heard: string[] = []
    lines.on('line', line => heard.push(line))
    return {
      heard,
      async ready() {
        await until('the member', () => heard.length > 0)
      },
      async kill() {
        child.kill('SIGKILL')
        await exited
      },
      async pull() {
        const from = heard.length
        child.stdin!.write('pull\n')
        await until('the pull', () => heard.length > from)
        return JSON.parse(heard[from]!) as { inStep: boolean }
      },
    }
  }

  test('a thousand edits, renames and removals later both have the same, and nothing was ever half', async () => {
    const [from, to] = [folder('a'), folder('b')]
    const a = server('a', [{ name: 'drivers', folder: from }], { term: 3 })
    const link = await serve(a.sync)
    const settings: FilesMemberSettings = {
      server: 'b',
      identity: identities.b!,
      active: { name: 'a', host: '127.0.0.1', port: link.port },
      roots: [{ name: 'drivers', folder: to }],
      intervalMs: 20,
    }
    /** Every content says how long it is and of what. */
    const contentOf = (size: number, letter: string) => `${size}:${letter.repeat(size)}`
    const isWhole = (text: string) => {
      const [, size, rest] = /^(\d+):(.*)$/s.exec(text) ?? []
      return rest !== undefined && Number(size) === rest.length && new Set(rest).size <= 1
    }
    const halves: string[] = []
    const look = () => {
      for (const path of Object.keys(contentsOf(to))) {
        if (!isWhole(readFileSync(join(to, path), 'utf8'))) halves.push(path)
      }
    }
    const name = fc.constantFrom(...'abcdefghij')
    const steps = fc.sample(
      fc.record({
        what: fc.constantFrom(
          ...Array<string>(12).fill('write'),
          'remove',
          'remove',
          'rename',
          'folder',
        ),
        path: fc.array(name, { minLength: 1, maxLength: 3 }),
        other: fc.array(name, { minLength: 1, maxLength: 3 }),
        size: fc.oneof(fc.nat(200), fc.nat(200_000)),
        letter: fc.constantFrom(...'klmnop'),
        mode: fc.constantFrom(0o600, 0o640, 0o755),
        kill: fc.integer({ min: 0, max: 49 }).map(n => n === 0),
        restMs: fc.nat(6),
      }),
      { numRuns: 1000, seed: 20261122 },
    )
    let standby = member(settings)
    await standby.ready()
    let kills = 0
    for (const { what, path, other, size, letter, mode, kill, restMs } of steps) {
      // As on a real disk most of these fail; what succeeds is a step.
      try {
        const at = path.join('/')
        if (what === 'write') {
          const file = join(from, `.${letter}`)
          writeFileSync(file, contentOf(size, letter), { mode })
          mkdirSync(join(from, at, '..'), { recursive: true })
          renameSync(file, join(from, at))
        } else if (what === 'rename') renameSync(join(from, at), join(from, other.join('/')))
        else rmSync(join(from, at), { recursive: what === 'folder' })
      } catch {
        rmSync(join(from, `.${letter}`), { force: true })
      }
      await sleep(restMs)
      if (!kill) continue
      await standby.kill()
      kills++
      look()
      standby = member(settings)
      // Some are killed while they begin.
      if (kills % 3 !== 0) await standby.ready()
    }
    await standby.ready()
    expect((await standby.pull()).inStep).toBe(true)
    look()
    await standby.kill()
    console.log(
      `${steps.length} steps, ${kills} kills, ${Object.keys(contentsOf(to)).length} files`,
    )
    expect(contentsOf(to)).toEqual(contentsOf(from))
    expect(halves).toEqual([])
    expect(kills).toBeGreaterThan(5)
  })
})
