/** Where an answer about traffic came from, in words. */
import type { AnswerOf } from '../api/hooks.ts'
import { formatMoment } from '../format/time.ts'
import { formatCount } from '../format/units.ts'

type Source = AnswerOf<'getTrafficTop'>['source']

const steps: Record<string, string> = {
  '1m': 'a minute',
  '5m': 'five minutes',
  '1h': 'an hour',
}

/** `sums of an hour and five minutes and flows`. */
export function tableText(table: string, what = 'sums'): string {
  const suffixes = table.split(', ').map(name => name.slice(name.lastIndexOf('_') + 1))
  const spans = new Set(suffixes.flatMap(suffix => steps[suffix] ?? []))
  const kinds = spans.size === 0 ? [] : [`${what} of ${[...spans].join(' and ')}`]
  if (suffixes.some(suffix => !(suffix in steps))) kinds.push('flows')
  return kinds.join(' and ')
}

/** `1 234 sums of five minutes read in 12 ms`. */
export function sourceText(source: Source): string {
  const { table, approximate, since, rowsRead, elapsedMs } = source
  const what = approximate ? 'largest addresses' : 'sums'
  const read = `${formatCount(rowsRead)} ${tableText(table, what)} read in ${Math.round(elapsedMs)} ms`
  return since === null ? read : `${read} · nothing as fine is kept before ${formatMoment(since)}`
}
