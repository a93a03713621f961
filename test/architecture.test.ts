/** The direction of imports that docs/architecture.md promises. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { describe, expect, test } from 'vitest'

const root = join(import.meta.dirname, '..')

/** What each folder may import besides itself; `npm` stands for packages, `node:` for Node's own. */
const allowed: Record<string, readonly string[]> = {
  'src/telemetry': [],
  'src/wire': ['src/telemetry'],
  'src/query': ['src/telemetry'],
  'src/lib': ['npm', 'node:'],
  'src/api/contract': ['src/telemetry', 'npm:zod'],
  'src/collect': ['src/telemetry', 'src/wire', 'src/lib', 'src/api/contract', 'npm', 'node:'],
  'src/failover': ['src/lib', 'npm', 'node:'],
  'src/devices': ['src/telemetry', 'src/lib', 'npm', 'node:'],
  'src/alarms': ['src/lib', 'npm', 'node:'],
  'src/notify': ['src/lib', 'npm', 'node:'],
  'src/interfaces': ['src/telemetry', 'src/lib', 'npm', 'node:'],
  'src/store': ['src/telemetry', 'src/query', 'src/devices', 'src/lib', 'npm', 'node:'],
  'src/api': [
    'src/telemetry',
    'src/query',
    'src/api/contract',
    'src/devices',
    'src/lib',
    'npm',
    'node:',
  ],
  'src/apps': ['src', 'npm', 'node:'],
  'src/cli': ['src', 'npm', 'node:'],
  'src/main.ts': ['src/cli', 'src/lib', 'npm', 'node:'],
  'web/src': ['src/api/contract', 'src/telemetry', 'npm'],
}

/** Files that are stricter than their folder: they know no clock, socket or file. */
const pureFiles = [
  'src/failover/machine.ts',
  'src/failover/acting.ts',
  'src/failover/files/manifest.ts',
  'src/failover/folder/fault.ts',
  'src/failover/folder/judge.ts',
  'src/failover/folder/mount.ts',
  'src/failover/folder/place.ts',
  'src/failover/lease/grant.ts',
  'src/failover/lost-terms.ts',
  'src/failover/standing.ts',
  'src/failover/states.ts',
  'src/failover/step.ts',
  'src/failover/takeover.ts',
  'src/failover/timings.ts',
  'src/devices/diff.ts',
  'src/devices/versions.ts',
  'src/devices/change.ts',
]

/** Names through which code would reach a clock, chance or the outside although it imports nothing. */
const effects =
  /\b(Date\.now|new Date\(\)|performance\.now|Math\.random|setTimeout|setInterval|process\.|fetch\()/

interface Source {
  path: string
  text: string
}

function violations(sources: readonly Source[]): string[] {
  const found: string[] = []
  for (const { path, text } of sources) {
    if (/\.test\.tsx?$/.test(path)) continue
    const folder = folderOf(path)
    if (folder === undefined) {
      found.push(`${path} lies in no folder of the layout`)
      continue
    }
    const pure = pureFiles.includes(path) || allowed[folder]!.every(to => !/^(npm|node:)/.test(to))
    for (const specifier of importsOf(text)) {
      const target = resolve(path, specifier)
      const isNode = target === 'node:' || target.startsWith('node:')
      if (pure && isNode && !(pureFiles.includes(path) && target === 'node:crypto')) {
        found.push(`${path} is pure and imports ${specifier}`)
      } else if (!mayImport(folder, target)) found.push(`${path} imports ${specifier}`)
    }
    if (pure && effects.test(text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, ''))) {
      found.push(`${path} is pure and uses ${effects.exec(text)![0]}`)
    }
  }
  return found
}

function folderOf(path: string): string | undefined {
  return Object.keys(allowed)
    .filter(folder => path === folder || path.startsWith(`${folder}/`))
    .sort((a, b) => b.length - a.length)[0]
}

function mayImport(folder: string, target: string): boolean {
  if (target.startsWith('src/') || target.startsWith('web/')) {
    if (folderOf(target) === folder) return true
    return allowed[folder]!.some(to => to === 'src' || folderOf(target) === to)
  }
  return allowed[folder]!.some(
    to => target === to || target.startsWith(`${to}:`) || (to === 'node:' && target.startsWith(to)),
  )
}

function importsOf(text: string): string[] {
  const pattern =
    /(?:^|\n)\s*(?:import|export)\b[^'"\n]*?(?:\{[^}]*\})?[^'"\n]*?from\s*['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]|(?:^|\n)\s*import\s*['"]([^'"]+)['"]/g
  return [...text.matchAll(pattern)].map(match => match[1] ?? match[2] ?? match[3]!)
}

function resolve(from: string, specifier: string): string {
  if (specifier.startsWith('.')) return posix.join(posix.dirname(from), specifier)
  return specifier.startsWith('node:') ? specifier : `npm:${specifier}`
}

function sourcesIn(folder: string): Source[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(path => /\.tsx?$/.test(path))
    .map(path => ({
      path: `${folder}/${path}`,
      text: readFileSync(join(root, folder, path), 'utf8'),
    }))
}

describe('the direction of imports', () => {
  test('holds in every file', () => {
    const sources = [...sourcesIn('src'), ...sourcesIn('web/src')]
    expect(sources.length).toBeGreaterThan(20)
    expect(violations(sources)).toEqual([])
  })

  test('is noticed when it is broken', () => {
    const planted: [path: string, text: string][] = [
      ['src/wire/planted.ts', "import { readFileSync } from 'node:fs'"],
      ['src/wire/planted.ts', "import { createLog } from '../lib/log.ts'"],
      ['src/telemetry/planted.ts', "export { x } from '../wire/sflow.ts'"],
      ['src/query/planted.ts', 'const now = Date.now()'],
      ['src/failover/machine.ts', "import net from 'node:net'"],
      [
        'src/failover/node.ts',
        "import {\n  createDatabase,\n} from '../store/postgres/database.ts'",
      ],
      ['src/collect/planted.ts', "const x = await import('../apps/server.ts')"],
      ['src/api/contract/planted.ts', "import { fastify } from 'fastify'"],
      ['src/lib/planted.ts', "import '../wire/sflow.ts'"],
      ['web/src/planted.tsx', "import { createHttp } from '../../src/api/http.ts'"],
      ['src/helpers/planted.ts', ''],
    ]
    for (const [path, text] of planted) {
      expect(violations([{ path, text }]), `${path}: ${text}`).toHaveLength(1)
    }
  })

  test('lets through what is allowed', () => {
    expect(
      violations([
        { path: 'src/wire/fine.ts', text: "import { createBatch } from '../telemetry/batch.ts'" },
        {
          path: 'src/collect/fine.ts',
          text: "import { pino } from 'pino'\nimport fs from 'node:fs/promises'",
        },
        { path: 'src/apps/fine.ts', text: "import { x } from '../store/postgres/database.ts'" },
        {
          path: 'web/src/fine.tsx',
          text: "import { endpoints } from '../../src/api/contract/index.ts'",
        },
      ]),
    ).toEqual([])
  })
})
