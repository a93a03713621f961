/** Moments in the viewer's own time zone, ISO-like: `2025-11-21 22:19:03`. */

function two(value: number): string {
  return String(value).padStart(2, '0')
}

function formatDate(at: Date): string {
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`
}

function formatClock(at: Date, milliseconds = false): string {
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`
  return milliseconds ? `${clock}.${String(at.getMilliseconds()).padStart(3, '0')}` : clock
}

/** `2025-11-21 22:19:03` */
export function formatMoment(iso: string | Date, milliseconds = false): string {
  const at = new Date(iso)
  if (Number.isNaN(at.getTime())) return '–'
  return `${formatDate(at)} ${formatClock(at, milliseconds)}`
}

/** `just now`, `12 s ago`, `3 h ago`; of the future: `in 5 min`. */
export function formatAgo(iso: string, now: number): string {
  const ms = now - new Date(iso).getTime()
  const length = Math.abs(ms)
  if (length < 2000) return 'just now'
  const [size, unit] =
    length < 60_000
      ? [1000, 's']
      : length < 3_600_000
        ? [60_000, 'min']
        : length < 86_400_000
          ? [3_600_000, 'h']
          : [86_400_000, 'd']
  const text = `${Math.floor(length / size)} ${unit}`
  return ms < 0 ? `in ${text}` : `${text} ago`
}

/** What an axis prints at a moment, as coarse as the length of the range (ms) allows. */
export function formatTick(at: number, span: number): string {
  const date = new Date(at)
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}`
  if (span <= 15 * 60_000) return formatClock(date)
  if (span <= 26 * 3_600_000) return clock
  const day = `${two(date.getMonth() + 1)}-${two(date.getDate())}`
  return clock === '00:00' || span > 8 * 86_400_000 ? day : `${day} ${clock}`
}

/** Value of an `<input type="datetime-local">`, and back; undefined if it is none. */
export function toLocalInput(at: number): string {
  const date = new Date(at)
  return `${formatDate(date)}T${formatClock(date)}`
}
export function fromLocalInput(text: string): number | undefined {
  const at = new Date(text).getTime()
  return Number.isNaN(at) ? undefined : at
}
