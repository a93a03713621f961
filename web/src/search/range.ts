/** The range of time that a page looks at, as the URL holds it and as the API wants it. */
import { textOf } from './url.ts'

/** Ranges that end now; a name is what stands in the URL. */
export const presets = {
  '15m': { label: '15 min', seconds: 900 },
  '1h': { label: '1 h', seconds: 3600 },
  '6h': { label: '6 h', seconds: 21_600 },
  '24h': { label: '24 h', seconds: 86_400 },
  '7d': { label: '7 d', seconds: 604_800 },
} as const
export type Preset = keyof typeof presets

/** Either a preset that moves with the clock, or two fixed moments (ms since 1970, `to` exclusive). */
export type Range = { preset: Preset } | { from: number; to: number }

/** What the URL carries of a range. */
export interface RangeSearch {
  range?: string
  from?: string
  to?: string
}

/** The range in the URL; `fallback` where it holds none or one that makes no sense. */
export function parseRange(search: Record<string, unknown>, fallback: Preset = '1h'): Range {
  const from = Date.parse(textOf(search.from) ?? '')
  const to = Date.parse(textOf(search.to) ?? '')
  if (from < to) return { from, to }
  const name = textOf(search.range)
  return { preset: name !== undefined && name in presets ? (name as Preset) : fallback }
}

export function rangeSearch(range: Range): RangeSearch {
  return 'preset' in range
    ? { range: range.preset }
    : { from: new Date(range.from).toISOString(), to: new Date(range.to).toISOString() }
}

export interface Bounds {
  from: number
  to: number
}

export function boundsOf(range: Range, now: number): Bounds {
  if (!('preset' in range)) return range
  return { from: now - 1000 * presets[range.preset].seconds, to: now }
}

/** `from` and `to` of the API. */
export function boundsQuery(bounds: Bounds): { from: string; to: string } {
  return { from: new Date(bounds.from).toISOString(), to: new Date(bounds.to).toISOString() }
}

/** How often a view of the range is worth asking again, ms; false: never, the past stays. */
export function refreshOf(range: Range): number | false {
  if (!('preset' in range)) return false
  const { seconds } = presets[range.preset]
  return seconds <= 3600 ? 10_000 : seconds <= 21_600 ? 30_000 : 60_000
}
