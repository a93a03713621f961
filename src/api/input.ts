/** What a request carries, checked against the contract. */
import type { z } from 'zod'
import { ApiError } from './handler.ts'

/** The input in the schema's form; undefined where there is no schema. @throws ApiError */
export function parse(schema: z.ZodType | undefined, input: unknown): unknown {
  if (!schema) return undefined
  const result = schema.safeParse(input)
  if (!result.success) throw new ApiError('bad-request', sentenceOf(result.error))
  const broken = brokenText(result.data, [])
  if (broken !== undefined) {
    throw new ApiError('bad-request', `${broken}: holds characters that no text can have`)
  }
  return result.data
}

/** The parameters that have a value: a form sends its empty fields too. */
export function given(query: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value !== ''))
}

/** Where there is text that PostgreSQL cannot hold: with a NUL, or with half a surrogate pair. */
function brokenText(value: unknown, path: readonly string[]): string | undefined {
  if (typeof value === 'string') {
    return value.includes('\0') || !value.isWellFormed() ? path.join('.') : undefined
  }
  if (value === null || typeof value !== 'object') return undefined
  for (const [key, inner] of Object.entries(value)) {
    const broken = brokenText(inner, [...path, key])
    if (broken !== undefined) return broken
  }
  return undefined
}

function sentenceOf(error: z.ZodError): string {
  return error.issues
    .map(issue =>
      issue.path.length > 0 ? `${issue.path.join('.')}: ${issue.message}` : issue.message,
    )
    .join('; ')
}
