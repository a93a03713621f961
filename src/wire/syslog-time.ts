/**
 * Times as devices write them in syslog: RFC 3164, RFC 3339, and the variants of Cisco, Huawei,
 * H3C, Opengear and others. Reading costs one look at each byte and allocates nothing.
 */

/** A time read from a message. Which fields count says `state`. */
export interface DeviceTime {
  /** none: not found. useless: an uptime, or a clock that says it was never set. */
  state: 'none' | 'calendar' | 'epoch' | 'useless'
  /** 0 = not said. */
  year: number
  month: number
  day: number
  /** Milliseconds since midnight. */
  clock: number
  /** Minutes east of UTC; NaN = not said. */
  zone: number
  /** Milliseconds since 1970. */
  epoch: number
  /** Said to less than a second, which in a Cisco header speaks for a zone's name behind it. */
  fine: boolean
}

export function createDeviceTime(): DeviceTime {
  return {
    state: 'none',
    year: 0,
    month: 0,
    day: 0,
    clock: 0,
    zone: Number.NaN,
    epoch: 0,
    fine: false,
  }
}

const day = 86_400_000
const colon = 0x3a
const space = 0x20
const dash = 0x2d
const slash = 0x2f

/**
 * Reads a time at `at`. `time` is written only if there is one.
 * @returns the offset behind it, −1 if there is none
 */
export function readTime(bytes: Uint8Array, at: number, end: number, time: DeviceTime): number {
  const first = bytes[at]!
  if (at + 8 > end) return isDigit(first) ? readUptime(bytes, at, end, time) : -1
  if (!isDigit(first)) return readMonthFirst(bytes, at, end, time)
  let digits = 1
  while (digits < 11 && isDigit(bytes[at + digits]!)) digits++
  const separator = bytes[at + digits]!
  if (digits === 4 && (separator === dash || separator === slash || separator === space)) {
    return readYearFirst(bytes, at, end, time, separator)
  }
  if (digits === 10 && separator === 0x2e) return readEpoch(bytes, at, end, time)
  return digits <= 3 ? readUptime(bytes, at, end, time) : -1
}

/** `Jan  5 10:00:00`, `Jan 05 2018 10:00:00`, and the year behind the clock. */
function readMonthFirst(bytes: Uint8Array, at: number, end: number, time: DeviceTime): number {
  const month = monthAt(bytes, at)
  if (month === 0 || bytes[at + 3] !== space) return -1
  at += 4
  if (bytes[at] === space) at++
  if (!isDigit(bytes[at]!)) return -1
  let dayOfMonth = digit(bytes, at++)
  if (isDigit(bytes[at]!)) dayOfMonth = 10 * dayOfMonth + digit(bytes, at++)
  if (bytes[at++] !== space) return -1
  let year = 0
  if (bytes[at + 4] === space && yearAt(bytes, at) > 0) {
    year = yearAt(bytes, at)
    at += 5
  }
  return readClock(bytes, at, end, time, year, month, dayOfMonth)
}

/** `2018-07-23T10:00:00`, `2018-7-23 10:00:00`, `2018/07/23 …`, `2018 Jul 23 …`, `2018-Jul- 3 …`. */
function readYearFirst(
  bytes: Uint8Array,
  at: number,
  end: number,
  time: DeviceTime,
  separator: number,
): number {
  const year = yearAt(bytes, at)
  if (year === 0) return -1
  at += 5
  let month = monthAt(bytes, at)
  if (month !== 0) {
    at += 3
  } else {
    if (separator === space || !isDigit(bytes[at]!)) return -1
    month = digit(bytes, at++)
    if (isDigit(bytes[at]!)) month = 10 * month + digit(bytes, at++)
  }
  if (bytes[at++] !== separator) return -1
  if (bytes[at] === space) at++
  if (!isDigit(bytes[at]!)) return -1
  let dayOfMonth = digit(bytes, at++)
  if (isDigit(bytes[at]!)) dayOfMonth = 10 * dayOfMonth + digit(bytes, at++)
  if (bytes[at] !== space && bytes[at] !== 0x54) return -1
  return readClock(bytes, at + 1, end, time, year, month, dayOfMonth)
}

function readClock(
  bytes: Uint8Array,
  at: number,
  end: number,
  time: DeviceTime,
  year: number,
  month: number,
  dayOfMonth: number,
): number {
  if (!isDigit(bytes[at]!)) return -1
  let hours = digit(bytes, at++)
  if (isDigit(bytes[at]!)) hours = 10 * hours + digit(bytes, at++)
  if (at + 6 > end || bytes[at] !== colon || bytes[at + 3] !== colon) return -1
  const minutes = twoDigits(bytes, at + 1)
  const seconds = twoDigits(bytes, at + 4)
  if (minutes < 0 || minutes > 59 || seconds < 0 || seconds > 60 || hours > 23) return -1
  if (month < 1 || month > 12 || dayOfMonth < 1 || dayOfMonth > 31) return -1
  at += 6
  let milliseconds = 0
  let fine = false
  const point = bytes[at]!
  if ((point === 0x2e || point === 0x2c) && at + 1 < end && isDigit(bytes[at + 1]!)) {
    fine = true
    let weight = 100
    for (at++; at < end && isDigit(bytes[at]!); at++) {
      milliseconds += Math.floor(weight) * digit(bytes, at)
      weight /= 10
    }
    // Huawei counts the messages of a millisecond: 33.270.1
    if (bytes[at] === 0x2e && at + 1 < end && isDigit(bytes[at + 1]!)) {
      at++
      while (at < end && isDigit(bytes[at]!)) at++
    }
  } else if (point === colon && at + 4 < end && bytes[at + 4] === space && threeDigits(bytes, at)) {
    fine = true
    milliseconds = 100 * digit(bytes, at + 1) + 10 * digit(bytes, at + 2) + digit(bytes, at + 3)
    at += 4
  }
  time.state = 'calendar'
  time.month = month
  time.day = dayOfMonth
  time.clock = ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds
  time.fine = fine
  time.zone = Number.NaN
  at = readOffset(bytes, at, end, time)
  if (year === 0 && at + 5 <= end && bytes[at] === space) {
    const behind = at + 5 === end || bytes[at + 5] === space || bytes[at + 5] === colon
    if (behind && yearAt(bytes, at + 1) > 0) {
      year = yearAt(bytes, at + 1)
      at += 5
    }
  }
  time.year = year
  return at
}

/** `Z`, `+02:00`, `-0500`, with or without a space before; gives the offset behind it. */
function readOffset(bytes: Uint8Array, at: number, end: number, time: DeviceTime): number {
  if (at >= end) return at
  if (bytes[at] === 0x5a && (at + 1 === end || !isLetter(bytes[at + 1]!))) {
    time.zone = 0
    return at + 1
  }
  const sign = bytes[at] === space ? at + 1 : at
  if (sign + 5 > end || (bytes[sign] !== 0x2b && bytes[sign] !== dash)) return at
  const minutesAt = bytes[sign + 3] === colon ? sign + 4 : sign + 3
  if (minutesAt + 2 > end) return at
  const hours = twoDigits(bytes, sign + 1)
  const minutes = twoDigits(bytes, minutesAt)
  if (hours < 0 || hours > 14 || minutes < 0 || minutes > 59) return at
  const east = 60 * hours + minutes
  time.zone = bytes[sign] === dash ? -east : east
  return minutesAt + 2
}

/** Seconds since 1970 with a fraction, as Meraki sends. */
function readEpoch(bytes: Uint8Array, at: number, end: number, time: DeviceTime): number {
  let seconds = 0
  for (let i = 0; i < 10; i++) seconds = 10 * seconds + digit(bytes, at++)
  let milliseconds = 0
  let weight = 100
  for (at++; at < end && isDigit(bytes[at]!); at++) {
    milliseconds += Math.floor(weight) * digit(bytes, at)
    weight /= 10
  }
  if (bytes[at] !== space) return -1
  time.state = 'epoch'
  time.epoch = 1000 * seconds + milliseconds
  return at
}

/** Cisco's `service timestamps log uptime`: `00:20:10`, `1d03h`, `2y10w`, always before a colon. */
function readUptime(bytes: Uint8Array, at: number, end: number, time: DeviceTime): number {
  let groups = 0
  let clock = false
  while (at < end && isDigit(bytes[at]!) && groups < 4) {
    let digits = 0
    while (at < end && isDigit(bytes[at]!) && digits < 4) {
      digits++
      at++
    }
    groups++
    if (at >= end) return -1
    const unit = bytes[at]!
    if (unit === 0x79 || unit === 0x77 || unit === 0x64 || unit === 0x68 || unit === 0x6d) at++
    else if (unit === colon && groups < 3) {
      clock = true
      at++
    } else break
  }
  if (clock ? groups !== 3 : groups !== 2) return -1
  if (bytes[at] === 0x2e) {
    at++
    while (at < end && isDigit(bytes[at]!)) at++
  }
  if (at >= end || bytes[at] !== colon) return -1
  time.state = 'useless'
  return at
}

/**
 * Milliseconds since 1970, NaN if the time tells none.
 * A time without a year is of the year in which it is nearest to `received`, so that a message of
 * 31 December that arrives on 1 January is not of the future.
 *
 * @param zone minutes east of UTC of a time that does not say
 */
export function resolveTime(time: DeviceTime, received: number, zone: number): number {
  if (time.state === 'epoch') return time.epoch
  if (time.state !== 'calendar') return Number.NaN
  const offset = 60_000 * (Number.isNaN(time.zone) ? zone : time.zone)
  const { month, day: dayOfMonth, clock, year } = time
  if (year !== 0) return day * daysSince1970(year, month, dayOfMonth) + clock - offset
  const about = 1970 + Math.floor(received / (365.2425 * day))
  let best = Number.NaN
  for (let candidate = about - 1; candidate <= about + 1; candidate++) {
    const at = day * daysSince1970(candidate, month, dayOfMonth) + clock - offset
    if (!(Math.abs(at - received) >= Math.abs(best - received))) best = at
  }
  return best
}

/** Days of the proleptic Gregorian calendar; years are counted from March, so leap days come last. */
function daysSince1970(year: number, month: number, dayOfMonth: number): number {
  const years = month > 2 ? year : year - 1
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + dayOfMonth - 1
  const leaps = Math.floor(years / 4) - Math.floor(years / 100) + Math.floor(years / 400)
  return 365 * years + leaps + dayOfYear - 719_468
}

/** Zones whose name means one offset; CST and IST are several and therefore not here. */
const zones = new Map<number, number>(
  (
    [
      ['UTC', 0],
      ['GMT', 0],
      ['WET', 0],
      ['WEST', 60],
      ['BST', 60],
      ['CET', 60],
      ['MET', 60],
      ['CEST', 120],
      ['MEST', 120],
      ['EET', 120],
      ['EEST', 180],
      ['MSK', 180],
      ['SGT', 480],
      ['HKT', 480],
      ['JST', 540],
      ['KST', 540],
      ['AEST', 600],
      ['AEDT', 660],
      ['NZST', 720],
      ['NZDT', 780],
      ['BRT', -180],
      ['EDT', -240],
      ['EST', -300],
      ['CDT', -300],
      ['MDT', -360],
      ['MST', -420],
      ['PDT', -420],
      ['PST', -480],
    ] as const
  ).map(([name, minutes]) => [textKey(name), minutes]),
)

/** Minutes east of UTC of the zone named by bytes[start, end), undefined if it is not known. */
export function namedZone(bytes: Uint8Array, start: number, end: number): number | undefined {
  if (end - start < 3 || end - start > 4) return undefined
  return zones.get(nameKey(bytes, start, end))
}

function nameKey(bytes: Uint8Array, start: number, end: number): number {
  let key = 0
  for (let i = start; i < end; i++) key = (key << 8) | bytes[i]!
  return key
}

function textKey(text: string): number {
  let key = 0
  for (const letter of text) key = (key << 8) | letter.charCodeAt(0)
  return key
}

const months = new Map(
  'jan feb mar apr may jun jul aug sep oct nov dec'
    .split(' ')
    .map((name, index) => [textKey(name), index + 1]),
)

/** 1–12, 0 if no month's name stands there. */
function monthAt(bytes: Uint8Array, at: number): number {
  const key = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!
  return months.get(key | 0x202020) ?? 0
}

/** A year of four digits from 1970 to 2099, 0 if there is none. */
function yearAt(bytes: Uint8Array, at: number): number {
  const century = twoDigits(bytes, at)
  const years = twoDigits(bytes, at + 2)
  if (years < 0 || (century !== 20 && !(century === 19 && years >= 70))) return 0
  return 100 * century + years
}

/** −1 if they are not both digits. */
function twoDigits(bytes: Uint8Array, at: number): number {
  if (!isDigit(bytes[at]!) || !isDigit(bytes[at + 1]!)) return -1
  return 10 * digit(bytes, at) + digit(bytes, at + 1)
}

function threeDigits(bytes: Uint8Array, at: number): boolean {
  return isDigit(bytes[at + 1]!) && isDigit(bytes[at + 2]!) && isDigit(bytes[at + 3]!)
}

function digit(bytes: Uint8Array, at: number): number {
  return bytes[at]! - 0x30
}

export function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39
}

export function isLetter(byte: number): boolean {
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x7a
}
