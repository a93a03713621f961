/** What the history says about how a server became active. Pure. */
import type { TakeoverFacts } from '../../notify/text.ts'
import type { RoleChange } from '../../store/postgres/role-changes.ts'

/** Causes with which an active lets go by itself; the others it only finds out. */
const ownWill = new Set(['switchover', 'stop', 'unhealthy', 'work-failed', 'expired'])

/**
 * @param known.changes the history, newest first
 * @param known.fallback for as long as the history does not have the change itself
 * @param known.seenAt when a server last wrote that it lives; undefined if unknown
 */
export function takeoverFacts(known: {
  term: number
  server: string
  changes: readonly RoleChange[]
  fallback: { at: Date; sentence: string }
  seenAt(server: string): Date | undefined
  telemetry: string | undefined
}): Omit<TakeoverFacts, 'console'> {
  const { term, server, changes, fallback } = known
  const own = changes.find(change => change.role === 'active' && change.term === term)
  const prior = changes.find(change => change.role === 'active' && change.term < term)
  const lastWord =
    prior &&
    changes.find(
      ({ id, server: by, role, cause }) =>
        id > prior.id && by === prior.server && role !== 'active' && ownWill.has(cause),
    )
  const at = own?.at ?? fallback.at
  return {
    ...{ term, server, before: prior?.server, at },
    cause: own?.cause ?? '',
    sentence: own?.sentence ?? fallback.sentence,
    lastWord: lastWord && { cause: lastWord.cause, sentence: lastWord.sentence },
    nobodyMs: gapUntil(at, lastWord?.at, prior && known.seenAt(prior.server)),
    telemetry: known.telemetry,
  }
}

/** From the last sign of the former active. What it wrote only later says nothing about that. */
function gapUntil(at: Date, ...signs: (Date | undefined)[]): number | undefined {
  const before = signs.flatMap(sign => (sign && sign <= at ? [at.getTime() - sign.getTime()] : []))
  return before.length > 0 ? Math.min(...before) : undefined
}
