import type { Range } from '../../query/question.ts'
import { ApiError } from '../handler.ts'

const hourMs = 3_600_000
/** What the telemetry's moments can hold: seconds of 32 bits. */
const firstMoment = 0
const lastMoment = (2 ** 32 - 1) * 1000
/** The picture of a range has at least one bucket a day. */
const longestDays = 3700

/** The range of a question; the last hour by default. @throws ApiError */
export function readRange(
  query: { from?: string | undefined; to?: string | undefined },
  now: number,
): Range {
  const to = query.to === undefined ? now : Date.parse(query.to)
  const from = query.from === undefined ? to - hourMs : Date.parse(query.from)
  if (!(from < to)) throw new ApiError('bad-request', '`from` has to lie before `to`')
  if (from < firstMoment || to > lastMoment) {
    throw new ApiError('bad-request', '`from` and `to` have to lie between 1970 and 2106')
  }
  if (to - from > longestDays * 24 * hourMs) {
    throw new ApiError('bad-request', '`from` and `to` may lie ten years apart at most')
  }
  return { from, to }
}
