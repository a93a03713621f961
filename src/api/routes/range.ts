import type { Range } from '../../query/question.ts'
import { ApiError } from '../handler.ts'

const hourMs = 3_600_000

/** The range of a question; the last hour by default. */
export function readRange(
  query: { from?: string | undefined; to?: string | undefined },
  now: number,
): Range {
  const to = query.to === undefined ? now : Date.parse(query.to)
  const from = query.from === undefined ? to - hourMs : Date.parse(query.from)
  if (from >= to) throw new ApiError('bad-request', '`from` has to lie before `to`')
  return { from, to }
}
