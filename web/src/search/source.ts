/** Where an answer about traffic came from, in words. */
import type { AnswerOf } from '../api/hooks.ts'
import { formatMoment } from '../format/time.ts'
import { formatCount } from '../format/units.ts'

type Source = AnswerOf<'getTrafficTop'>['source']

const steps: Record<string, string> = {
  '1m': 'sums of a minute',
  '5m': 'sums of five minutes',
  '1h': 'sums of an hour',
}

/** `1 234 sums of five minutes read in 12 ms`. */
export function sourceText({ table, since, rowsRead, elapsedMs }: Source): string {
  const kinds = table
    .split(', ')
    .map(name => steps[name.slice(name.lastIndexOf('_') + 1)] ?? 'flows')
  const rows = [...new Set(kinds)].join(' and ')
  const read = `${formatCount(rowsRead)} ${rows} read in ${Math.round(elapsedMs)} ms`
  return since === null ? read : `${read} · nothing as fine is kept before ${formatMoment(since)}`
}
