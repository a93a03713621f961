import { readFileSync } from 'node:fs'
import { LineCounter, parseDocument } from 'yaml'
import type { z } from 'zod'

/** A settings file that cannot be used; the message names the file, the line and the right form. */
export class SettingsError extends Error {
  override name = 'SettingsError'
}

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
  const lineAt = (offset: number) => lines.linePos(offset).line
  const broken = document.errors[0]
  if (broken) throw new SettingsError(`${file}:${lineAt(broken.pos[0])}: ${broken.message}`)

  const result = schema.safeParse(document.toJS() ?? {})
  if (result.success) return result.data
  const messages = result.error.issues.map(issue => {
    const path = issue.path as (string | number)[]
    const unknownKey = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined
    const line = lineOf(unknownKey === undefined ? path : [...path, unknownKey])
    const key = path.join('.')
    return `${file}:${line}: ${key === '' ? '' : `${key}: `}${issue.message}`
  })
  throw new SettingsError(messages.join('\n'))

  /** The line of the deepest node on the path that exists: of the key where there is one. */
  function lineOf(path: (string | number)[]): number {
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
}
