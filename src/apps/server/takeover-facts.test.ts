import { describe, expect, test } from 'vitest'
import { takeoverMessage } from '../../notify/text.ts'
import type { RoleChange } from '../../store/postgres/role-changes.ts'
import { takeoverFacts } from './takeover-facts.ts'

const second = (count: number) => new Date(Date.parse('2026-11-22T01:00:00Z') + count * 1000)

/** Newest last, as it happened; the history is asked newest first. */
function history(
  ...lines: [at: number, server: string, role: string, term: number, cause: string][]
) {
  return lines
    .map(([at, server, role, term, cause], id) => ({
      ...{ id, at: second(at), server, role, term, cause },
      sentence: `${server}: ${cause}`,
    }))
    .reverse() as RoleChange[]
}

const factsOf = (changes: RoleChange[], seen: Record<string, Date> = {}) =>
  takeoverFacts({
    term: 2,
    server: 'b',
    changes,
    fallback: { at: second(60), sentence: 'what the lease says' },
    seenAt: server => seen[server],
    telemetry: undefined,
  })

describe('the facts of a takeover', () => {
  test('after a crash: nobody was active from its last sign of life', () => {
    const facts = factsOf(
      history([0, 'a', 'active', 1, 'first'], [60, 'b', 'active', 2, 'proven-dead']),
      { a: second(58) },
    )
    expect(facts).toMatchObject({ before: 'a', cause: 'proven-dead', nobodyMs: 2000 })
    expect(facts.lastWord).toBeUndefined()
  })

  test('after a switchover: it is called planned, from the word of the former active', () => {
    const facts = factsOf(
      history(
        [0, 'a', 'active', 1, 'first'],
        [59.9, 'a', 'standby', 1, 'switchover'],
        [60, 'b', 'active', 2, 'released'],
      ),
      { a: second(58) },
    )
    expect(facts).toMatchObject({ lastWord: { cause: 'switchover' }, nobodyMs: 100 })
    expect(takeoverMessage({ ...facts, console: null }).subject).toBe(
      'Keepwatch: b took over from a as planned',
    )
  })

  test('a word that comes later is heard, but says nothing about the gap', () => {
    const facts = factsOf(
      history(
        [0, 'a', 'active', 1, 'first'],
        [60, 'b', 'active', 2, 'released'],
        [61, 'a', 'standby', 1, 'switchover'],
      ),
      { a: second(62) },
    )
    expect(facts).toMatchObject({ lastWord: { cause: 'switchover' }, nobodyMs: undefined })
  })

  test('what the former active only finds out when it wakes is not why', () => {
    const facts = factsOf(
      history(
        [0, 'a', 'active', 1, 'first'],
        [60, 'b', 'active', 2, 'silent'],
        [90, 'a', 'standby', 2, 'fenced'],
      ),
    )
    expect(facts).toMatchObject({ cause: 'silent', lastWord: undefined })
  })

  test('while the history lacks the change, the lease tells', () => {
    const facts = factsOf(history([0, 'a', 'active', 1, 'first']))
    expect(facts).toMatchObject({ at: second(60), sentence: 'what the lease says', before: 'a' })
  })

  test('nobody was before the first', () => {
    expect(factsOf([]).before).toBeUndefined()
  })
})
