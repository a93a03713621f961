/** Numbers for people, always three significant digits or so, SI prefixes in steps of 1000. */

const prefixes = ['', 'k', 'M', 'G', 'T', 'P']

function scaled(value: number): [text: string, prefix: string] {
  let index = 0
  let magnitude = Math.abs(value)
  // 999.5 would print as 1000, so it belongs to the next prefix.
  while (magnitude >= 999.5 && index < prefixes.length - 1) {
    magnitude /= 1000
    index++
  }
  const digits =
    magnitude >= 100 || (index === 0 && Number.isInteger(magnitude)) ? 0 : magnitude >= 10 ? 1 : 2
  const text = magnitude.toFixed(digits)
  return [value < 0 ? `-${text}` : text, prefixes[index]!]
}

/** `12.3 Mbit/s` */
export function formatBitRate(bitsPerSecond: number): string {
  const [text, prefix] = scaled(bitsPerSecond)
  return `${text} ${prefix}bit/s`
}

/** `12.3 MB`, decimal. */
export function formatBytes(bytes: number): string {
  const [text, prefix] = scaled(bytes)
  return `${text} ${prefix}B`
}

/** `12.3 k` + what is counted: `12.3 k flows/s`. */
export function formatQuantity(value: number, unit: string): string {
  const [text, prefix] = scaled(value)
  return [text, prefix, unit].filter(part => part !== '').join(' ')
}

/** Whole counts with narrow spaces that do not break: `1 234 567`. */
export function formatCount(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, '\u202f')
}

/** `12.3 %`; tiny shares that are not zero say so. */
export function formatShare(part: number, whole: number): string {
  if (whole <= 0) return '–'
  const percent = (100 * part) / whole
  if (percent > 0 && percent < 0.1) return '< 0.1 %'
  return `${percent.toFixed(percent >= 99.95 ? 0 : 1)} %`
}

/** A length of time in its two largest units: `850 ms`, `12 s`, `3 min 20 s`, `2 d 4 h`. */
export function formatDuration(ms: number): string {
  const sign = ms < 0 ? '-' : ''
  const length = Math.abs(ms)
  if (length < 9.95) return `${sign}${Number(length.toFixed(1))} ms`
  if (length < 1000) return `${sign}${Math.round(length)} ms`
  const seconds = Math.floor(length / 1000)
  if (seconds < 10) return `${sign}${(length / 1000).toFixed(1)} s`
  if (seconds < 60) return `${sign}${seconds} s`
  for (const [below, size, unit, smallSize, smallUnit] of durationSteps) {
    if (seconds >= below) continue
    const rest = Math.floor((seconds % size) / smallSize)
    return `${sign}${Math.floor(seconds / size)} ${unit}${rest === 0 ? '' : ` ${rest} ${smallUnit}`}`
  }
  return `${sign}∞`
}

const durationSteps = [
  [3600, 60, 'min', 1, 's'],
  [86_400, 3600, 'h', 60, 'min'],
  [Number.POSITIVE_INFINITY, 86_400, 'd', 3600, 'h'],
] as const
