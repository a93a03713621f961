/** Real versions of the package: built once, packed by npm, then copies with another version number. */
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { type Home, manifestFile } from '../../src/apps/upgrade/home.ts'
import { filesUnder, manifestOf } from '../../src/apps/upgrade/version-files.ts'

const root = join(import.meta.dirname, '../..')
const longMs = 300_000

export interface Packages {
  /** Of the sources. */
  readonly version: string
  /** A folder with the package, its version and what was changed in it. */
  make(version: string, change?: (folder: string) => void): string
}

/** @param folder for all of them */
export function buildPackages(folder: string): Packages {
  const stage = join(folder, 'stage')
  const { version, files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  for (const part of ['package.json', ...files]) {
    const from = join(root, part)
    if (part !== 'dist' && existsSync(from)) cpSync(from, join(stage, part), { recursive: true })
  }
  const run = (program: string, args: string[], cwd: string) =>
    execFileSync(program, args, { cwd, timeout: longMs, stdio: ['ignore', 'pipe', 'inherit'] })
  run(process.execPath, [join(root, 'scripts/build.mjs'), join(stage, 'dist')], root)
  run('npm', ['pack', '--offline', '--ignore-scripts', '--loglevel=error'], stage)
  run('tar', ['-xzf', join(stage, `keepwatch-${version}.tgz`), '-C', folder], folder)
  const packed = join(folder, 'package')

  return {
    version,
    make(number, change = () => {}) {
      const made = join(folder, `keepwatch-${number}`)
      cpSync(packed, made, { recursive: true })
      const manifest = join(made, 'package.json')
      const fields = JSON.parse(readFileSync(manifest, 'utf8'))
      writeFileSync(manifest, JSON.stringify({ ...fields, version: number }))
      symlinkSync(join(root, 'node_modules'), join(made, 'node_modules'))
      change(made)
      return made
    },
  }
}

export function edit(file: string, change: (text: string) => string) {
  const before = readFileSync(file, 'utf8')
  const after = change(before)
  if (after === before) throw new Error(`nothing was changed in ${file}`)
  writeFileSync(file, after)
}

/** A migration more, under the next number. */
export function addMigration(folder: string, sql: string): string {
  const migrations = join(folder, 'dist/store/postgres/migrations')
  const number = String(readdirSync(migrations).length + 1).padStart(4, '0')
  writeFileSync(join(migrations, `${number}-of-the-test.sql`), sql)
  return `${number}-of-the-test`
}

/** As `keepwatch install` leaves it, but without hashing again what a version that is there has too. */
export async function installQuickly(home: Home, from: string, like: string, version: string) {
  const prepared = home.prepare(version)
  rmSync(prepared, { recursive: true })
  execFileSync('cp', ['--archive', '--link', home.folderOf(like), prepared])
  const inside = async () =>
    (await filesUnder(prepared)).filter(path => !path.startsWith('node_modules/'))
  for (const path of await inside()) rmSync(join(prepared, path))
  for (const path of await filesUnder(from)) {
    if (path.startsWith('node_modules')) continue
    mkdirSync(dirname(join(prepared, path)), { recursive: true })
    cpSync(join(from, path), join(prepared, path))
  }
  const before = JSON.parse(readFileSync(join(home.folderOf(like), manifestFile), 'utf8'))
  const own = await manifestOf(version, prepared, await inside())
  const same = before.entries.filter((one: { path: string }) =>
    one.path.startsWith('node_modules/'),
  )
  const manifest = { version, entries: [...own.entries, ...same] }
  writeFileSync(join(prepared, manifestFile), JSON.stringify(manifest))
  home.complete(version)
}
