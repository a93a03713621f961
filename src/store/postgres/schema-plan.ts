/** Which version of the program can work on which schema. Pure: decided from what was read. */

export interface KnownMigration {
  number: number
  name: string
  hash: string
  /** The oldest version that can work on the schema after it. */
  compatibleFrom: string
  /** The program that brings it also works without it, so it can wait until no older server runs. */
  mayWait: boolean
}

export interface AppliedMigration {
  number: number
  name: string
  hash: string
  compatibleFrom: string
  /** The version that applied it, if that is known. */
  appliedBy: string | null
}

export type SchemaPlan<Migration extends KnownMigration = KnownMigration> =
  | {
      /** To be applied now, in this order. */
      apply: Migration[]
      /** To be applied when the servers that `reason` names run a newer version, or not at all. */
      later: Migration[]
      reason: string | undefined
    }
  | {
      /** Why this program cannot work on this database, and what to do. */
      refusal: string
      /** It may pass by itself: the other server is being stopped, or upgraded. */
      passing: boolean
    }

/** The oldest version that there is: what says nothing else is compatible from it on. */
export const firstVersion = '0.1.0'

/**
 * @param program.version of the program that asks
 * @param program.previous the version that runs again if this one, on trial, does not prove itself
 * @param known the migrations that it has, in order
 * @param applied those of the database, in order
 * @param running the other servers that work on this database now
 */
export function planSchema<Migration extends KnownMigration>(state: {
  program: { version: string; previous?: string | undefined }
  known: readonly Migration[]
  applied: readonly AppliedMigration[]
  running: readonly { name: string; version: string }[]
}): SchemaPlan<Migration> {
  const { program, known, applied, running } = state
  for (const [index, { number, name, hash }] of applied.slice(0, known.length).entries()) {
    const mine = known[index]!
    if (mine.number !== number || mine.hash !== hash) {
      return refuse(
        `migration ${mine.name} is not the ${name} that this database was made with: ` +
          'a migration must not change once it was applied',
      )
    }
  }
  const ahead = applied.slice(known.length)
  // Whoever has a migration can work on the schema after it, whatever its version says.
  const version = newest([program.version, known.at(-1)?.compatibleFrom ?? firstVersion])
  const needed = ahead.find(({ compatibleFrom }) => isOlder(version, compatibleFrom))
  if (needed) {
    const by = needed.appliedBy ? ` by ${needed.appliedBy}` : ''
    const oldest = newest(ahead.map(({ compatibleFrom }) => compatibleFrom))
    return refuse(
      `this database was upgraded${by}, with ${needed.name}, and needs at least ${oldest}; ` +
        `this is ${program.version}: install ${oldest} or later`,
    )
  }
  const missing = known.slice(applied.length)
  const { previous } = program
  const tooOld = ({ compatibleFrom }: Migration) => {
    const server = running.find(one => isOlder(one.version, compatibleFrom))
    if (server) return { who: `server ${server.name} runs ${server.version}`, passing: true }
    if (previous === undefined || !isOlder(previous, compatibleFrom)) return undefined
    return { who: `${program.version} is on trial and may go back to ${previous}`, passing: false }
  }
  const from = missing.findIndex(migration => tooOld(migration) !== undefined)
  if (from < 0) return { apply: missing, later: [], reason: undefined }
  const later = missing.slice(from)
  const { who, passing } = tooOld(later[0]!)!
  const reason =
    `${who}, which cannot work on the database after ${later[0]!.name}; ` +
    `that needs at least ${later[0]!.compatibleFrom}`
  if (later.every(({ mayWait }) => mayWait)) {
    return { apply: missing.slice(0, from), later, reason }
  }
  const instead = passing
    ? 'upgrade that server first, or stop it'
    : 'stop both servers and start this version by hand, after a backup of the database'
  return refuse(`${reason}: ${instead}`, passing)
}

function refuse(refusal: string, passing = false) {
  return { refusal, passing }
}

/**
 * What the first lines of a migration say about compatibility:
 *
 *     -- compatible-from: 0.3.0
 *     -- may-wait
 *
 * Without the first line, every version goes on working that did before it.
 *
 * @param before the `compatibleFrom` of the migration before it
 * @throws Error if a line cannot be read
 */
export function compatibilityOf(sql: string, before: string) {
  const header = /^(--[^\n]*\n)*/.exec(sql)![0]
  const said = /^-- *compatible-from:[ \t]*([^\n]*?)\s*$/m.exec(header)?.[1]
  if (said !== undefined && !versionForm.test(said)) {
    throw new Error(`compatible-from: ${said} is not a version like 0.2.0`)
  }
  return {
    compatibleFrom: said === undefined ? before : newest([before, said]),
    mayWait: /^-- *may-wait\s*$/m.test(header),
  }
}

const versionForm = /^(\d{1,9})\.(\d{1,9})\.(\d{1,9})(-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$/

/** By numbers; a pre-release counts as what it precedes, whose schema it has. Semantic Versioning 2.0. */
function isOlder(version: string, than: string): boolean {
  const [a, b] = [numbersOf(version), numbersOf(than)]
  const differs = a.findIndex((number, index) => number !== b[index])
  return differs >= 0 && a[differs]! < b[differs]!
}

function newest(versions: readonly string[]): string {
  return versions.reduce((a, b) => (isOlder(a, b) ? b : a))
}

/** What is no version is older than all. */
function numbersOf(version: string): number[] {
  return versionForm.exec(version)?.slice(1, 4).map(Number) ?? [-1, -1, -1]
}
