/** What a number of runs took, and how it is said. */

export interface Figures {
  /** Seconds. */
  p50: number
  p99: number
  max: number
  n: number
}

/** @param seconds of each run */
export function figuresOf(seconds: readonly number[]): Figures {
  const sorted = seconds.toSorted((a, b) => a - b)
  // Nearest rank: a value that was measured.
  const rank = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]
  const round = (value: number | undefined) => Number((value ?? Number.NaN).toFixed(3))
  return {
    p50: round(rank(0.5)),
    p99: round(rank(0.99)),
    max: round(sorted.at(-1)),
    n: sorted.length,
  }
}

/** Columns as wide as their widest cell; numbers to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) =>
    Math.max(...rows.map(row => (row[column] ?? '').length)),
  )
  return rows
    .map(row =>
      row
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

export function seconds(value: number): string {
  return Number.isFinite(value) ? value.toFixed(value < 10 ? 3 : 1) : '–'
}
