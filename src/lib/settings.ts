import { readFileSync } from 'node:fs'
import { type Document, LineCounter, parseDocument } from 'yaml'
import type { z } from 'zod'

/** A settings file that cannot be used; the message names the file, the line and the right form. */
export class SettingsError extends Error {
  override name = 'SettingsError'
}

type Path = readonly PropertyKey[]

/** Reads a YAML settings file against its schema. @throws SettingsError */
export function readSettings<S extends z.ZodType>(file: string, schema: S): z.output<S> {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new SettingsError(`${file}: cannot be read: ${(error as Error).message}`)
  }
  return parseSettings(text, file, schema)
}

/** The same from text; `file` is for the messages. @throws SettingsError */
export function parseSettings<S extends z.ZodType>(
  text: string,
  file: string,
  schema: S,
): z.output<S> {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const broken = document.errors[0]
  if (broken) {
    throw new SettingsError(`${file}:${lines.linePos(broken.pos[0]).line}: ${broken.message}`)
  }
  const result = schema.safeParse(document.toJS() ?? {}, { error: wordsOf })
  if (result.success) return result.data
  const messages = result.error.issues.flatMap(issue => {
    if (issue.code !== 'unrecognized_keys') return [{ path: issue.path, message: issue.message }]
    const known = keysAt(schema, issue.path).join(', ')
    return issue.keys.map(key => ({
      path: [...issue.path, key],
      message: `there is no such setting; there are ${known}`,
    }))
  })
  throw new SettingsError(
    messages
      .map(({ path, message }) => explain(file, lineOf(document, lines, path), path, message))
      .join('\n'),
  )
}

/**
 * What to throw where a setting of the right form turns out to be unusable: a file that is not
 * there, a port that is taken.
 *
 * @param key as in the file, levels joined by dots: `console.port`
 */
export function unusableSetting(file: string, key: string, message: string): SettingsError {
  const path = key.split('.')
  let line: number | undefined
  try {
    const lines = new LineCounter()
    const document = parseDocument(readFileSync(file, 'utf8'), { lineCounter: lines })
    line = lineOf(document, lines, path)
  } catch {
    // Removed meanwhile: the message alone has to do.
  }
  return new SettingsError(explain(file, line, path, message))
}

function explain(file: string, line: number | undefined, path: Path, message: string): string {
  const place = line === undefined ? file : `${file}:${line}`
  return path.length === 0 ? `${place}: ${message}` : `${place}: ${path.join('.')}: ${message}`
}

/** The line of the deepest node on the path that exists: of the key where there is one. */
function lineOf(document: Document.Parsed, lines: LineCounter, path: Path): number {
  const lineAt = (offset: number) => lines.linePos(offset).line
  for (let depth = path.length; depth > 0; depth--) {
    const parent = document.getIn(path.slice(0, depth - 1), true)
    const pairs = (parent as { items?: unknown[] } | undefined)?.items ?? []
    for (const pair of pairs) {
      const key = (pair as { key?: { value?: unknown; range?: [number, number, number] } }).key
      if (key?.range && key.value === path[depth - 1]) return lineAt(key.range[0])
    }
    const node = document.getIn(path.slice(0, depth), true) as
      | { range?: [number, number, number] }
      | undefined
    if (node?.range) return lineAt(node.range[0])
  }
  return 1
}

const words: Record<string, string> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a group of settings',
  array: 'a list',
}

const units: Record<string, string> = { string: 'character', array: 'item' }

/** What is wrong in words of a settings file. Never the value, which may be a secret. */
function wordsOf(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type': {
      const { input } = issue
      const wanted = words[issue.expected] ?? issue.expected
      if (input === undefined) return `is missing; it must be ${wanted}`
      if (issue.expected === 'int' && typeof input === 'number') return `must be ${wanted}`
      const got = input === null ? 'empty' : words[Array.isArray(input) ? 'array' : typeof input]
      return `must be ${wanted}, and is ${got}`
    }
    case 'invalid_value':
      return `must be ${issue.values.map(value => JSON.stringify(value)).join(' or ')}`
    case 'too_small':
    case 'too_big': {
      const bound = issue.code === 'too_small' ? issue.minimum : issue.maximum
      const side = issue.code === 'too_small' ? 'least' : 'most'
      if (issue.inclusive === false)
        return `must be ${side === 'least' ? 'more' : 'less'} than ${bound}`
      const unit = units[issue.origin]
      return unit === undefined
        ? `must be at ${side} ${bound}`
        : `must have at ${side} ${bound} ${unit}${Number(bound) === 1 ? '' : 's'}`
    }
    default:
      return undefined
  }
}

/** The names of the settings that a group has. */
function keysAt(schema: z.ZodType, path: Path): string[] {
  interface Part {
    def?: { innerType?: Part; element?: Part; shape?: Record<PropertyKey, Part> }
  }
  const unwrapped = (part: Part | undefined): Part | undefined =>
    part?.def?.innerType === undefined ? part : unwrapped(part.def.innerType)
  let part = unwrapped(schema as Part)
  for (const key of path) {
    part = unwrapped(typeof key === 'number' ? part?.def?.element : part?.def?.shape?.[key])
  }
  return Object.keys(part?.def?.shape ?? {})
}
