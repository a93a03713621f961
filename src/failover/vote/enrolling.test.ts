import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Candidate, type EnrollingConfig, meaningOf, nextVoters } from './enrolling.ts'

const config: EnrollingConfig = { self: 'kw1', most: 3, settledMs: 5000, goneMs: 60_000 }
const now = 1_000_000

const here = (name: string, forMs = 10_000): Candidate => ({
  ...{ name, present: true, since: now - forMs },
  role: name.startsWith('kw') ? 'server' : name.startsWith('w') ? 'witness' : 'collector',
})
const away = (name: string, forMs: number): Candidate => ({ ...here(name, forMs), present: false })

/** Until nobody has to come or go. */
function settled(voters: string[], candidates: readonly Candidate[]): string[] {
  const next = nextVoters(voters, candidates, config, now)
  return next === undefined ? voters.toSorted() : settled(next, candidates)
}

test.for<[present: string, away: string, means: RegExp]>([
  ['', '', /^it is not known yet who votes$/],
  ['kw1', '', /^kw1 alone votes: .* a takeover is by hand; with a collector or a witness/],
  ['kw1 kw2 c1', '', /^3 voters: 1 of them may be away$/],
  ['kw1 kw2', 'c1', /^2 of 3 voters are there, as many as it takes; missing: c1$/],
  ['kw1 kw2 c1 c2', 'c3', /^4 of 5 voters are there, 1 more than it takes; missing: c3$/],
  ['kw1', 'kw2 c1', /^1 of 3 voters are there, and it takes 2: nobody .*; missing: kw2, c1$/],
  ['kw1 kw2', '', /^2 voters: none of them may be away, no more than with one voter less$/],
])('people are told what it means that there are %s, and not %s', ([present, away, means]) => {
  const named = (names: string, is: boolean) =>
    names.split(' ').flatMap(name => (name === '' ? [] : [{ name, present: is }]))
  expect(meaningOf([...named(present, true), ...named(away, false)])).toMatch(means)
})

describe('who votes', () => {
  test.for<[string, string[], Candidate[], string[]]>([
    ['the active alone', ['kw1'], [here('kw1')], ['kw1']],
    ['also with a standby: two are worse than one', ['kw1'], [here('kw2')], ['kw1']],
    ['both and a third', ['kw1'], [here('kw2'), here('c1')], ['c1', 'kw1', 'kw2']],
    ['not a fourth', ['kw1'], [here('kw2'), here('c1'), here('c2')], ['c1', 'kw1', 'kw2']],
    [
      'five where there are enough',
      ['kw1'],
      [here('kw2'), here('c1'), here('c2'), here('c3'), here('c4')],
      ['c1', 'c2', 'c3', 'kw1', 'kw2'],
    ],
    ['a witness first', ['kw1'], [here('kw2'), here('c1'), here('w')], ['kw1', 'kw2', 'w']],
    [
      'the same as before',
      ['kw1', 'kw2', 'c2'],
      [here('kw2'), here('c1'), here('c2')],
      ['c2', 'kw1', 'kw2'],
    ],
    ['not who has only just come', ['kw1'], [here('kw2'), here('c1', 1000)], ['kw1']],
    [
      'who is away for a while',
      ['kw1', 'kw2', 'c1'],
      [here('kw2'), away('c1', 30_000)],
      ['c1', 'kw1', 'kw2'],
    ],
    ['not who is gone', ['kw1', 'kw2', 'c1'], [here('kw2'), away('c1', 90_000)], ['kw1']],
    [
      'another instead of who is away',
      ['kw1', 'kw2', 'c1'],
      [here('kw2'), away('c1', 30_000), here('c2')],
      ['c2', 'kw1', 'kw2'],
    ],
    [
      'the active alone when the other server is gone',
      ['kw1', 'kw2', 'c1'],
      [away('kw2', 90_000), here('c1')],
      ['kw1'],
    ],
    ['the new active instead of the old', ['kw2'], [here('kw2')], ['kw1']],
    [
      'a new standby instead of one that is gone',
      ['kw1', 'kw2', 'c1'],
      [away('kw2', 90_000), here('kw3'), here('c1')],
      ['c1', 'kw1', 'kw3'],
    ],
  ])('is %s', ([, voters, candidates, wanted]) => {
    expect(settled(voters, candidates)).toEqual(wanted)
  })

  test('never becomes a roll of which too few are there', () => {
    const candidates = [away('kw2', 90_000), here('c1')]
    expect(nextVoters(['c1', 'kw2', 'kw1'], candidates, config, now)).toEqual(['c1', 'kw1'])
    const both = [away('kw2', 90_000), away('c1', 90_000)]
    expect(nextVoters(['c1', 'kw2', 'kw1'], both, config, now)).toBeUndefined()
  })

  test('changes by one at a time, comes to an end, and is then an odd number with the active', () => {
    const names = ['kw2', 'kw3', 'c1', 'c2', 'c3', 'c4', 'w1']
    const candidate = fc
      .tuple(fc.constantFrom(...names), fc.boolean(), fc.integer({ min: 0, max: 120_000 }))
      .map(([name, present, ms]) => (present ? here(name, ms) : away(name, ms)))
    fc.assert(
      fc.property(
        fc.uniqueArray(candidate, { selector: ({ name }) => name }),
        fc.subarray(names),
        (candidates, before) => {
          const isThere = (name: string) =>
            name === 'kw1' || candidates.some(each => each.name === name && each.present)
          const works = (roll: string[]) => roll.filter(isThere).length > roll.length / 2
          let voters = ['kw1', ...before]
          for (let steps = 0; steps < 20; steps++) {
            const next = nextVoters(voters, candidates, config, now)
            if (next === undefined) {
              expect(voters).toContain('kw1')
              if (works(voters)) expect(voters.length % 2).toBe(1)
              return
            }
            expect(Math.abs(next.length - voters.length)).toBe(1)
            expect(works(next)).toBe(true)
            voters = next
          }
          expect.fail('it does not come to an end')
        },
      ),
    )
  })
})
