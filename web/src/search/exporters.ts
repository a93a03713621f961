/** What to think of an exporter's figures. */
import type { AnswerOf } from '../api/hooks.ts'
import { formatDuration, formatShare } from '../format/units.ts'

export type Heard = AnswerOf<'listHeardExporters'>['exporters'][number]
export type Compared = AnswerOf<'compareExporters'>['exporters'][number]

const skewMs = 5000
const lossShare = 0.001
/** Flows count IP bytes, interfaces those of the link layer too: a tenth less is usual. */
const fits = { least: 0.7, most: 1.2 }
/** Below that, bit/s, chance decides. */
const leastCounted = 10_000

export function isSkewed(heard: Pick<Heard, 'skewMs'>): boolean {
  return Math.abs(heard.skewMs ?? 0) > skewMs
}

/** What flows come to beside the counters, and which sampling rate would fit. */
export function comparedText(
  compared: Compared | undefined,
  heard: Pick<Heard, 'sampling' | 'set'>,
): { text: string; wrong: boolean; hint: string } | undefined {
  if (compared === undefined || compared.counters < leastCounted) return undefined
  const ratio = compared.flows / compared.counters
  const text = `${formatShare(compared.flows, compared.counters)} of them`
  const over = `of what ${compared.interfaces} interfaces counted in the last hour`
  if (ratio >= fits.least && ratio <= fits.most) {
    return { text, wrong: false, hint: `The flows come to ${formatShare(ratio, 1)} ${over}.` }
  }
  const rate = rounded((heard.set ?? heard.sampling.rate) / ratio)
  const would = rate >= 1 ? ` A sampling rate of 1 in ${rate} would fit.` : ''
  return {
    text,
    wrong: true,
    hint: `The flows come to ${formatShare(ratio, 1)} ${over}: the sampling rate may be wrong, or some interfaces do not export.${would}`,
  }
}

/** In few words, what somebody should look at. */
export function troubleOf(heard: Heard, compared: Compared | undefined): string[] {
  const found: string[] = []
  if (!heard.online) found.push('collector offline')
  if (heard.lost > lossShare * heard.expected) found.push('datagrams lost')
  if (heard.held > 0) found.push('templates missing')
  if (isSkewed(heard)) found.push(`clock ${formatDuration(heard.skewMs!)} off`)
  if (comparedText(compared, heard)?.wrong === true) found.push('disagrees with counters')
  for (const reason of Object.keys(heard.problems)) {
    // Both are told by what is missing now.
    if (reason !== 'unknown-template') found.push(reason.replaceAll('-', ' '))
  }
  return found
}

/** Two digits: rates are round numbers. */
function rounded(rate: number): number {
  if (rate < 1) return 0
  const digits = 10 ** Math.max(0, Math.floor(Math.log10(rate)) - 1)
  return Math.round(rate / digits) * digits
}
