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

/** `sums of a minute`; of several, each once. */
export function tableText(table: string): string {
  const kinds = table
    .split(', ')
    .map(name => steps[name.slice(name.lastIndexOf('_') + 1)] ?? 'flows')
  return [...new Set(kinds)].join(' and ')
}

/** `1 234 sums of five minutes read in 12 ms`. */
export function sourceText({ table, since, rowsRead, elapsedMs }: Source): string {
  const read = `${formatCount(rowsRead)} ${tableText(table)} read in ${Math.round(elapsedMs)} ms`
  return since === null ? read : `${read} · nothing as fine is kept before ${formatMoment(since)}`
}
