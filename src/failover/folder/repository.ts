/**
 * The configuration mirror: a git repository in the shared folder that people and tools read. Git's
 * own program writes it, a batch of commits at a time with `git fast-import`: the branch moves in
 * one step at the end, and only forward. Whoever writes holds the file `keepwatch-term`, so a lock
 * that a dead writer left is told from one of a living one by its term.
 *
 * Whoever may write in the folder could leave a hook or a setting there: nothing of that is run.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, readdir, rm, rmdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isAbsent, readIfThere, removeIfThere, writeDurably } from './durable.ts'
import { FolderUnusable } from './fault.ts'

export interface Commit {
  /** Subject, and what else is to be said; without trailers. */
  message: string
  /** The version that it brings, undefined if none. */
  version?: number | undefined
  /** Versions with greater ids, of older commits, no longer count. */
  after?: number | undefined
  author: string
  /** Seconds since 1970. */
  at: number
  changes: Change[]
}

export type Change =
  | { do: 'write'; path: string; content: string }
  /** A file, or a folder with what is in it. */
  | { do: 'remove'; path: string }
  | { do: 'move'; from: string; to: string }

/** Where the repository stands. */
export interface RepositoryHead {
  /** Versions that the newest commits brought, at most a thousand. */
  versions: number[]
  /** The file `.devices.json` as it was committed last; empty if there is none. */
  devices: string
}

export interface Repository {
  commit(commits: readonly Commit[]): Promise<void>
  readonly head: RepositoryHead
}

interface Term {
  term: number
  server: string
  incarnation: string
}

const devicesFile = '.devices.json'
const branch = 'refs/heads/main'
const trailer = 'Keepwatch-Version'
const rememberedCommits = 1000
/** Loose objects and packs are put together after so many batches. */
const batchesBetweenTidying = 500

/**
 * Opens the repository in `folder`, or makes it, and takes it over from a writer of an older term.
 *
 * @param config.alone whether every earlier writer of this server's own term is gone for certain
 * @throws FolderUnusable `superseded` if a newer term writes there
 */
export async function openRepository(
  folder: string,
  config: Term & { alone: boolean; writer: string },
): Promise<Repository> {
  const gitDir = join(folder, '.git')
  const git = (args: string[], input?: Buffer) => runGit(folder, args, input)
  const { term, server, incarnation } = config

  await mkdir(gitDir, { recursive: true, mode: 0o750 })
  const before = await writerOf(gitDir)
  demandNewest(before)
  if (before?.term !== term || before.incarnation !== incarnation) {
    const text = `${JSON.stringify({ term, server, incarnation } satisfies Term)}\n`
    await writeDurably(join(gitDir, 'keepwatch-term'), Buffer.from(text), config.writer)
    await removeLocks(gitDir)
  } else if (config.alone) {
    await removeLocks(gitDir)
  }
  // Repeating it does no harm, and mends one that was interrupted, once its locks are gone.
  await git(['init', '--quiet', '--initial-branch=main', '--object-format=sha1'])

  await writeDurably(
    join(gitDir, 'info', 'exclude'),
    Buffer.from('*.keepwatch-tmp\n'),
    config.writer,
  )
  let tip = await tipOf()
  let tree = await treeOf(tip)
  let head = await readHead()
  let batches = 0
  await settle(new Set([...tree.keys(), ...(await filesIn(folder))]))

  function demandNewest(writer: Term | undefined) {
    if (writer === undefined || writer.term < term) return
    if (writer.term === term && writer.incarnation === incarnation) return
    throw new FolderUnusable(
      'superseded',
      `${writer.server} writes the configuration mirror in term ${writer.term}, and this is term ${term}`,
    )
  }

  async function tipOf(): Promise<string | undefined> {
    const { text } = await git(['for-each-ref', '--format=%(objectname)', branch])
    return text.trim() || undefined
  }

  /** Hashes of the files of a commit, by path. */
  async function treeOf(commit: string | undefined): Promise<Map<string, string>> {
    const files = new Map<string, string>()
    if (commit === undefined) return files
    const { text } = await git(['ls-tree', '-r', '-z', commit])
    for (const entry of text.split('\0')) {
      const match = /^\d+ blob ([0-9a-f]+)\t(.*)$/s.exec(entry)
      if (match !== null) files.set(match[2]!, match[1]!)
    }
    return files
  }

  async function readHead(): Promise<RepositoryHead> {
    if (tip === undefined) return { versions: [], devices: '' }
    const { text } = await git([
      'log',
      `--max-count=${rememberedCommits}`,
      `--format=%(trailers:key=${trailer},valueonly)`,
      tip,
    ])
    const versions: number[] = []
    for (const value of text.split('\n').filter(Boolean)) {
      const [, after, id] = /^(after )?(\d{1,15})$/.exec(value) ?? []
      if (id !== undefined) versions.push(Number(id))
      if (after !== undefined) break
    }
    const devices = tree.has(devicesFile) ? (await git(['show', `${tip}:${devicesFile}`])).text : ''
    return { versions, devices }
  }

  /** Makes the files at these paths, which people see, those of the newest commit, each in one step. */
  async function settle(paths: Iterable<string>) {
    for (const path of paths) {
      // Somebody who was stopped in the middle of this must not put older files over newer ones.
      demandNewest(await writerOf(gitDir))
      const hash = tree.get(path)
      const file = join(folder, path)
      if (hash === undefined) {
        await removeIfThere(file)
        await rmdir(dirname(file)).catch(() => {})
        continue
      }
      const now = await readIfThere(file)
      if (now !== null && blobHash(now) === hash) continue
      const { bytes } = await git(['cat-file', 'blob', hash])
      await writeDurably(file, bytes, config.writer)
    }
    // So that `git status` says what is so.
    if (tip !== undefined) await git(['read-tree', tip])
  }

  return {
    get head() {
      return head
    },

    async commit(commits) {
      if (commits.length === 0) return
      demandNewest(await writerOf(gitDir))
      const input = Buffer.concat([
        Buffer.from('feature done\n'),
        ...commits.flatMap((commit, index) => encodeCommit(commit, server, index === 0 ? tip : '')),
        Buffer.from('done\n'),
      ])
      await git(['fast-import', '--quiet', '--date-format=raw', '--done'], input)
      const before = tree
      tip = await tipOf()
      tree = await treeOf(tip)
      head = await readHead()
      const paths = new Set([...before.keys(), ...tree.keys()])
      await settle([...paths].filter(path => before.get(path) !== tree.get(path)))
      if (++batches % batchesBetweenTidying === 0) await git(['gc', '--auto', '--quiet'])
    },
  }
}

async function writerOf(gitDir: string): Promise<Term | undefined> {
  const text = await readIfThere(join(gitDir, 'keepwatch-term'))
  if (text === null) return undefined
  const { term, server, incarnation } = JSON.parse(text.toString('utf8')) as Term
  return { term, server, incarnation }
}

/** What git leaves where it was killed. */
async function removeLocks(gitDir: string) {
  for (const folder of ['.', 'refs/heads', 'objects/info', 'info']) {
    const names = await readdir(join(gitDir, folder)).catch(() => [])
    for (const name of names) {
      if (/\.lock$|^gc\.pid$|^fast_import_crash_/.test(name)) {
        await rm(join(gitDir, folder, name), { force: true })
      }
    }
  }
}

/** Paths of the files that are Keepwatch's: others, which a person may have put there, stay. */
async function filesIn(folder: string): Promise<string[]> {
  const paths: string[] = []
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isDirectory() || entry.name === '.git') continue
    for (const name of await readdir(join(folder, entry.name))) {
      if (name.endsWith('.cfg')) paths.push(`${entry.name}/${name}`)
    }
  }
  return paths
}

function blobHash(bytes: Buffer): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')
}

/** @param from the commit that it follows; '' is the one before it in the batch */
function encodeCommit(commit: Commit, server: string, from: string | undefined): Buffer[] {
  const { message, version, after, author, at, changes } = commit
  const name = plain(author) || 'unknown'
  const said = after === undefined ? version : `after ${after}`
  const text = said === undefined ? message : `${message}\n\n${trailer}: ${said}`
  const parts: (string | Buffer)[] = [
    `commit ${branch}\n`,
    `author ${name} <${name.replaceAll(' ', '.')}@device> ${at} +0000\n`,
    `committer Keepwatch <keepwatch@${plain(server)}> ${at} +0000\n`,
    data(`${text}\n`),
    from ? `from ${from}\n` : '',
  ]
  for (const change of changes) {
    if (change.do === 'move') parts.push(`R ${safe(change.from)} ${safe(change.to)}\n`)
    else if (change.do === 'remove') parts.push(`D ${safe(change.path)}\n`)
    else parts.push(`M 100644 inline ${safe(change.path)}\n`, data(change.content))
  }
  return parts.map(part => (typeof part === 'string' ? Buffer.from(part) : part))
}

function data(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([Buffer.from(`data ${bytes.length}\n`), bytes, Buffer.from('\n')])
}

/** Without what ends a name in git's format. */
function plain(text: string): string {
  return text
    .replaceAll(/[<>\p{Cc}]/gu, '')
    .trim()
    .slice(0, 100)
}

/** @throws Error for a path that needs quoting or leaves the repository */
function safe(path: string): string {
  const whole = path.split('/').every(name => /^[A-Za-z0-9%_-][A-Za-z0-9%._-]*$/.test(name))
  if (!whole && path !== devicesFile) throw new Error(`no path in the mirror: ${path}`)
  return path
}

const gitSettings = [
  'core.hooksPath=/dev/null',
  'core.fsmonitor=false',
  'core.untrackedCache=false',
  'core.symlinks=false',
  'core.autocrlf=false',
  'core.fsync=all',
  'gc.autoDetach=false',
  'safe.directory=*',
]

async function runGit(
  folder: string,
  args: string[],
  input?: Buffer,
): Promise<{ bytes: Buffer; text: string }> {
  const settings = gitSettings.flatMap(setting => ['-c', setting])
  const [command = ''] = args
  const where =
    command === 'init' ? [] : [`--git-dir=${join(folder, '.git')}`, `--work-tree=${folder}`]
  const child = spawn(
    'git',
    [...where, ...settings, ...args, ...(command === 'init' ? [folder] : [])],
    {
      // Not the shared folder: the process must be able to start while that hangs.
      cwd: '/',
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        LC_ALL: 'C',
        TZ: 'UTC',
        GIT_CONFIG_NOSYSTEM: '1',
        GIT_CONFIG_GLOBAL: '/dev/null',
        GIT_TERMINAL_PROMPT: '0',
        GIT_ATTR_NOSYSTEM: '1',
      },
    },
  )
  const said: Buffer[] = []
  let complaint = ''
  child.stdout.on('data', (chunk: Buffer) => said.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-2000)
  })
  // A git that ends early says why on its standard error.
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', error => {
      const absent = isAbsent(error)
      reject(
        absent
          ? new FolderUnusable('absent', 'there is no program git: install the package git')
          : error,
      )
    })
    child.once('close', resolve)
  })
  if (code !== 0) throw await gitFailure(folder, command, complaint)
  const bytes = Buffer.concat(said)
  return { bytes, text: bytes.toString('utf8') }
}

/** What the file system says weighs more than git's words. */
async function gitFailure(folder: string, command: string, complaint: string): Promise<Error> {
  await stat(folder)
  const words = complaint.trim().split('\n').slice(-3).join(' ')
  const code = /No space left on device/.test(words)
    ? 'ENOSPC'
    : /Read-only file system/.test(words)
      ? 'EROFS'
      : undefined
  return Object.assign(new Error(`git ${command}: ${words}`), { code })
}
