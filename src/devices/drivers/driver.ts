/**
 * What a driver is: the description of one operating system of devices, as data and pure
 * functions. How the dialogue is led (session.ts) and what makes an answer complete (backup.ts)
 * is the same for all; what differs between vendors is here and nowhere else.
 *
 * Every regular expression is applied to one line without its end, after terminal escapes were
 * removed, save where it says otherwise. None of them is global or sticky.
 */

/** Something to fetch from the device and keep in versions. */
export interface Artefact {
  /** `running`; part of a version's identity. */
  name: string
  /**
   * Ways to get it, tried in this order until one is accepted; the first failure of a kind that
   * another way cannot mend (the device is away) ends it.
   */
  ways: readonly Way[]
  /** Longest time for one fetch, ms. */
  timeoutMs: number
}

export interface Way {
  command: string
  /** The last line that is not empty, without which the answer is cut. Absent = exit status 0 proves it. */
  end?: RegExp
  /** Fewer bytes than this are no configuration. */
  minBytes: number
}

/** A question of the device that stands at the end of what it sent, and the keys that answer it. */
export interface Dialogue {
  when: RegExp
  send: string
}

/** How to talk to a device that has a command line and nothing better. */
interface ShellDialogue {
  /** The size of the terminal asked for: wide, so that nothing is wrapped. */
  terminal: { columns: number; rows: number }
  /** Ends a command: `\n` or `\r`. */
  lineEnd: string
  prompt: {
    /** Any prompt of this system, before the device's own was learned. */
    any: RegExp
    /** The part of a learned prompt that does not change with the mode; cut to `stemMax` characters. */
    stem: RegExp
    stemMax: number
    /** A prompt of the level that may read the configuration. */
    privileged: RegExp
  }
  dialogues: readonly Dialogue[]
  pager: readonly Dialogue[]
  enable?: { command: string; ask: RegExp; refused: RegExp }
  /** Commands before the first artefact; one that is refused is gone without (old systems). */
  setup: readonly string[]
  /** Commands that end the session. */
  teardown: readonly string[]
}

/** Where a secret stands in a line; the group `secret` is what must not be shown. */
type SecretPattern = RegExp

interface DriverBase {
  /** `cisco-ios`; what a device's record names. */
  id: string
  vendor: string
  system: string
  artefacts: readonly Artefact[]
  /** Lines that mean the command was refused. */
  errors: readonly RegExp[]
  /** Lines that others wrote into the terminal meanwhile: the answer is not clean. */
  noise: readonly RegExp[]
  normalise: {
    /** Lines never stored. */
    drop: readonly RegExp[]
    /** Lines stored but not compared: they make no new version. */
    ignore: readonly RegExp[]
    /** Where the device says who changed it and when: groups `user` and `at`. */
    lift: readonly RegExp[]
  }
  secrets: readonly SecretPattern[]
  change: {
    /** Applied to a whole syslog message; groups `user` and `from` where the device says them. */
    syslog: readonly RegExp[]
  }
  /** How the text is built, for those who show or compare it. */
  structure: 'indent' | 'files'
}

/** A device whose every command is a program of its own: no prompt, no pager, and an exit status. */
interface ExecDriver extends DriverBase {
  channel: 'exec'
}

/** A device with an interactive command line only. */
export interface ShellDriver extends DriverBase {
  channel: 'shell'
  shell: ShellDialogue
}

export type Driver = ExecDriver | ShellDriver

/** A driver as its file states it, checked for what would silently go wrong. @throws Error */
export function defineDriver<const D extends Driver>(driver: D): D {
  const patterns = [
    ...driver.errors,
    ...driver.noise,
    ...driver.normalise.drop,
    ...driver.normalise.ignore,
    ...driver.normalise.lift,
    ...driver.secrets,
    ...driver.change.syslog,
  ]
  for (const pattern of patterns) {
    if (pattern.global || pattern.sticky) throw new Error(`${driver.id}: ${pattern} keeps a state`)
  }
  for (const pattern of driver.secrets) {
    if (!pattern.source.includes('(?<secret>') || !pattern.hasIndices) {
      throw new Error(`${driver.id}: ${pattern} names no group "secret", or lacks the flag d`)
    }
  }
  return driver
}

/** What stands in place of a secret wherever a configuration is shown. */
const hiddenSecret = '<hidden>'

/** `scheme://user:secret@host`, in whatever language it stands. */
const urlSecret = /\b[a-z][a-z0-9+.-]{1,15}:\/\/[^\s:/@]{1,128}:(?<secret>[^\s@/]{1,256})@/dgi

/**
 * The text with its secrets hidden. Works line by line, so that a hunk of a diff can be masked as
 * well as a whole configuration; a line keeps everything but the secret.
 */
export function maskSecrets(driver: Driver, text: string): string {
  return text
    .split('\n')
    .map(line => maskLine(driver, line))
    .join('\n')
}

/** Of a longer line nothing is shown: a search in it could take long, and no system writes one. */
const longestLine = 32_768

function maskLine(driver: Driver, line: string): string {
  if (line.length > longestLine) return hiddenSecret
  let masked = line
  for (const pattern of driver.secrets) {
    const where = pattern.exec(masked)?.indices?.groups?.secret
    if (where) masked = masked.slice(0, where[0]) + hiddenSecret + masked.slice(where[1])
  }
  if (!masked.includes('://')) return masked
  return masked.replace(urlSecret, (match, secret: string) =>
    match.replace(`:${secret}@`, `:${hiddenSecret}@`),
  )
}
