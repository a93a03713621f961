/** What every question shares: SQL with server-side parameters, ranges, buckets. */

/** A statement for the engine; values travel as parameters, never in the text. */
export interface Sql {
  text: string
  params: Record<string, unknown>
}

/** Milliseconds since 1970, `to` exclusive. */
export interface Range {
  from: number
  to: number
}

/** Below a minute only for the last half hour; exporters tell of a flow once a minute at best. */
const steps = [10, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400]
const wantedBuckets = 180

/** Seconds of a bucket so that a range has about 180 of them. */
export function stepOf(range: Range): number {
  const ideal = (range.to - range.from) / 1000 / wantedBuckets
  return steps.find(step => step >= ideal) ?? 86_400
}

/** The range with the whole of its first and last bucket. */
export function wholeBuckets(range: Range, step: number): Range {
  const ms = step * 1000
  return { from: Math.floor(range.from / ms) * ms, to: Math.ceil(range.to / ms) * ms }
}

/** The begin of each bucket that the range touches, in seconds since 1970. */
export function bucketsOf(range: Range, step: number): number[] {
  const first = Math.floor(range.from / 1000 / step) * step
  const buckets: number[] = []
  for (let at = first; at * 1000 < range.to; at += step) buckets.push(at)
  return buckets
}

/** Rows `{bucket, key, value}` as one array of values per key, zero where there is no row. */
export function fillSeries(
  rows: readonly { bucket: number; key: string; value: number }[],
  buckets: readonly number[],
): { key: string; values: number[] }[] {
  const position = new Map(buckets.map((bucket, index) => [bucket, index]))
  const series = new Map<string, number[]>()
  for (const row of rows) {
    const index = position.get(row.bucket)
    if (index === undefined) continue
    const values = series.get(row.key) ?? buckets.map(() => 0)
    series.set(row.key, values)
    values[index]! += row.value
  }
  return [...series].map(([key, values]) => ({ key, values }))
}

/** An IPv6 column as text, mapped addresses in dotted form. */
export function addressText(expression: string): string {
  return `replaceOne(toString(${expression}), '::ffff:', '')`
}
