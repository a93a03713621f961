/** The pages under docs/ say what the code says: settings, metrics, options, files, tests. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import type { z } from 'zod'
import { collectorFileSettings } from '../src/apps/collector.ts'
import { serverSettings } from '../src/apps/server/settings.ts'
import { withTarget } from '../src/cli/client.ts'
import { commands } from '../src/cli/commands.ts'
import { parseSettings } from '../src/lib/settings.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const pages = [
  'README.md',
  'CHANGELOG.md',
  ...filesIn('docs').filter(path => path.endsWith('.md')),
].map(path => ({ path, text: read(path) }))

describe('the reference of settings', () => {
  const page = read('docs/reference/settings.md')
  test.each([
    ['server', serverSettings],
    ['collector', collectorFileSettings],
  ] as const)('names every setting of the %s with its default, and no other', (name, schema) => {
    const section = sectionOf(page, `keepwatch ${name}`)
    const shown = rowsOf(section).map(([key, , byDefault]) => [key, byDefault])
    expect(shown).toEqual(settingsOf(schema as unknown as Schema))
  })
})

test('examples of settings files are accepted', () => {
  const examples = pages.flatMap(({ path, text }) =>
    [...text.matchAll(/```yaml\n(.*?)```/gs)].map(match => ({ path, yaml: match[1]! })),
  )
  expect(examples.length).toBeGreaterThan(2)
  for (const { path, yaml } of examples) {
    const schema: z.ZodType = yaml.includes('installed:') ? serverSettings : collectorFileSettings
    expect(() => parseSettings(yaml, path, schema)).not.toThrow()
  }
})

test('the reference of metrics names every metric of the source, and no other', () => {
  const named = rowsOf(read('docs/reference/metrics.md')).map(([name]) => name)
  expect(named.toSorted()).toEqual(metricsOf(filesIn('src')).toSorted())
})

test('pages speak of metrics that there are', () => {
  const known = new Set(metricsOf(filesIn('src')))
  const unknown = pages.flatMap(({ path, text }) =>
    [...text.matchAll(/\bkeepwatch_[a-z_]+/g)]
      .filter(([name]) => !known.has(name.replace(/_(bucket|count|sum)$/, '')))
      .map(([name]) => `${path}: ${name}`),
  )
  expect(unknown).toEqual([])
})

test('the reference of the command line names every option of every command', () => {
  const page = read('docs/reference/cli.md')
  const shownIn = (title: string) => rowsOf(sectionOf(page, title)).map(([option]) => option)
  const flagsOf = (command: Command) => command.options.map(({ flags }) => flags)
  // What all that talk to a server have is said once.
  const common = [...flagsOf(withTarget(new Command())), '--json']
  expect(shownIn('Which server')).toEqual(common)
  const check = (command: Command, title: string) => {
    for (const inner of command.commands) check(inner, `${title} ${inner.name()}`)
    if (command.commands.length > 0) return
    const flags = flagsOf(command)
    const talks = common.every(flag => flags.includes(flag))
    const own = talks ? flags.filter(flag => !common.includes(flag)) : flags
    expect(shownIn(title), title).toEqual(own)
  }
  for (const command of commands()) check(command, `keepwatch ${command.name()}`)
})

test('links lead to pages that are there', () => {
  const broken = pages.flatMap(({ path, text }) =>
    [...text.matchAll(/(?<!!)\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
      .map(match => match[1]!)
      .filter(target => !/^[a-z]+:/.test(target))
      .filter(target => !existsSync(join(root, dirname(path), target)))
      .map(target => `${path}: ${target}`),
  )
  expect(broken).toEqual([])
})

test('files of the source that pages name are there', () => {
  const missing = pages.flatMap(({ path, text }) =>
    [...text.matchAll(/`((?:src|test|web|scripts|bin|docs)\/[\w./-]+)`/g)]
      .map(match => match[1]!)
      .filter(file => !existsSync(join(root, file)))
      .map(file => `${path}: ${file}`),
  )
  expect(missing).toEqual([])
})

test('tests that pages name as proof are there', () => {
  const named = pages.flatMap(({ path, text }) =>
    [...text.matchAll(/`(test\/[\w./-]+|src\/[\w./-]+\.test\.ts)`: "([^"]+)"/g)].map(
      ([, file, title]) => ({ path, file: file!, title: title! }),
    ),
  )
  expect(named.length).toBeGreaterThan(20)
  const missing = named.filter(({ file, title }) => !read(file).includes(title))
  expect(missing).toEqual([])
})

/** As much of a zod schema as this looks at. */
interface Schema {
  def: {
    type: string
    innerType?: Schema
    element?: Schema
    shape?: Record<string, Schema>
    defaultValue?: unknown
  }
}

/** Every leaf as `a.b` (of a list `a[].b`) with what it is when it is left out. */
function settingsOf(schema: Schema, path = '', without = 'required'): [string, string][] {
  const { type, innerType, element, shape, defaultValue } = schema.def
  if (type === 'default') return settingsOf(innerType!, path, `\`${textOf(defaultValue)}\``)
  if (type === 'prefault') return settingsOf(innerType!, path)
  if (type === 'optional') {
    return settingsOf(innerType!, path, innerType!.def.shape ? `required in \`${path}\`` : '–')
  }
  if (type === 'array' && element?.def.shape) return settingsOf(element, `${path}[]`)
  if (!shape) return [[path, without]]
  return Object.entries(shape).flatMap(([key, part]) =>
    settingsOf(part, path === '' ? key : `${path}.${key}`, without),
  )
}

function textOf(value: unknown): string {
  return value === '' ? '""' : String(value)
}

/** Names as they are registered: whole, by a tally, or in the tables of the collector and the engine. */
function metricsOf(files: readonly string[]): string[] {
  const names = new Set<string>()
  for (const file of files) {
    if (!file.endsWith('.ts') || file.endsWith('.test.ts')) continue
    const text = read(file)
    for (const [, name] of text.matchAll(/name(?::| =) '(keepwatch_\w+)'/g)) names.add(name!)
    for (const [, name] of text.matchAll(/createTally[^;]*?\bname: '(\w+)'/g)) {
      names.add(`keepwatch_${name}_total`)
    }
    for (const [, name] of text.matchAll(/\['(?:counter|gauge)', '(\w+)'/g)) {
      names.add(`keepwatch_${name}`)
    }
    for (const [, name] of text.matchAll(/\bgauge\('(\w+)'/g)) names.add(`keepwatch_engine_${name}`)
  }
  return [...names]
}

/** What is under the heading that ends with `title`, up to the next of its level. */
function sectionOf(page: string, title: string): string {
  const found = page
    .split(/^## /m)
    .find(section => section.split('\n', 1)[0]!.replaceAll('`', '').trim() === title)
  if (found === undefined) throw new Error(`there is no section ${title}`)
  return found
}

/** Rows of Markdown tables whose first cell is code; that cell bare, the others as they are. */
function rowsOf(page: string): string[][] {
  return page
    .split('\n')
    .filter(line => line.startsWith('| `'))
    .map(line => {
      const [first, ...rest] = line.slice(1, -1).split('|')
      return [first!.trim().slice(1, -1), ...rest.map(cell => cell.trim())]
    })
}

function filesIn(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map(
    path => `${folder}/${path}`,
  )
}
