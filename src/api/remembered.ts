import type { Clock } from '../lib/clock.ts'
import { DatabaseAway, Overloaded } from '../lib/errors.ts'
import type { SessionStores } from './routes/session.ts'

/** How long the database may take before what is remembered answers. */
const patienceMs = 800
/** How long after the database last confirmed them they are still believed without it. */
const believedMs = 5 * 60_000
const rememberedMost = 1000

/**
 * Sessions and tokens that outlast an absence of the database for some minutes, so that whoever is
 * logged in can see what is going on just then. While the database answers, it alone is believed.
 */
export function rememberLogIns<Tx>(
  stores: SessionStores<Tx>,
  clock: Pick<Clock, 'wall' | 'monotonic'>,
): SessionStores<Tx> {
  const { users, sessions, tokens } = stores
  const knownSessions = remember(sessions.find, clock)
  const knownTokens = remember(tokens.find, clock)
  return {
    users: {
      ...users,
      changePassword(tx, id, passwordHash, keep) {
        knownSessions.forget()
        return users.changePassword(tx, id, passwordHash, keep)
      },
    },
    sessions: {
      ...sessions,
      find: knownSessions.find,
      remove(secret) {
        knownSessions.forget(secret)
        return sessions.remove(secret)
      },
    },
    tokens: {
      ...tokens,
      find: knownTokens.find,
      remove(tx, id) {
        knownTokens.forget()
        return tokens.remove(tx, id)
      },
    },
  }
}

function remember<T extends { expires: Date | null }>(
  look: (secret: string) => Promise<T | null>,
  clock: Pick<Clock, 'wall' | 'monotonic'>,
) {
  const known = new Map<string, { found: T; at: number }>()
  /** Since when a question about a secret waits for its answer. */
  const waiting = new Map<string, number>()
  let forgotten = 0

  async function ask(secret: string): Promise<T | null> {
    const before = forgotten
    if (!waiting.has(secret)) waiting.set(secret, clock.monotonic())
    try {
      const found = await look(secret)
      known.delete(secret)
      // What was ended while it was looked up is not to be remembered.
      if (found && before === forgotten) known.set(secret, { found, at: clock.monotonic() })
      if (known.size > rememberedMost) known.delete(known.keys().next().value!)
      return found
    } finally {
      waiting.delete(secret)
    }
  }

  function believed(secret: string): T | undefined {
    const entry = known.get(secret)
    if (!entry || clock.monotonic() - entry.at > believedMs) return undefined
    const { expires } = entry.found
    return expires === null || expires.getTime() > clock.wall() ? entry.found : undefined
  }

  return {
    forget(secret?: string) {
      forgotten++
      if (secret === undefined) known.clear()
      else known.delete(secret)
    },
    async find(secret: string): Promise<T | null> {
      const remembered = believed(secret)
      if (!remembered) return ask(secret)
      const since = waiting.get(secret)
      // While one question hangs, more of them would only hang as well.
      if (since !== undefined && clock.monotonic() - since > patienceMs) return remembered
      const asking = ask(secret)
      const late = Promise.withResolvers<void>()
      const timer = setTimeout(() => late.resolve(), patienceMs)
      try {
        const answer = await Promise.race([asking, late.promise])
        if (answer || answer === null) return answer
      } catch (error) {
        if (!(error instanceof DatabaseAway || error instanceof Overloaded)) throw error
      } finally {
        clearTimeout(timer)
      }
      asking.catch(() => {})
      return believed(secret) ?? asking
    },
  }
}
