import { describe, expect, test } from 'vitest'
import {
  type AppliedMigration,
  compatibilityOf,
  type KnownMigration,
  planSchema,
} from './schema-plan.ts'

const known = (number: number, compatibleFrom = '0.1.0', mayWait = false): KnownMigration => ({
  number,
  name: `000${number}`,
  hash: `hash ${number}`,
  compatibleFrom,
  mayWait,
})
const applied = (number: number, compatibleFrom = '0.1.0', appliedBy: string | null = '0.4.0') =>
  ({
    number,
    name: `000${number}`,
    hash: `hash ${number}`,
    compatibleFrom,
    appliedBy,
  }) satisfies AppliedMigration
const two = (version: string) => [{ name: 'two', version }]

const plan = (
  version: string,
  mine: KnownMigration[],
  there: AppliedMigration[],
  running: { name: string; version: string }[] = [],
) => {
  const decided = planSchema({ program: { version }, known: mine, applied: there, running })
  if ('refusal' in decided) return decided
  const names = (list: KnownMigration[]) => list.map(({ name }) => name)
  return { ...decided, apply: names(decided.apply), later: names(decided.later) }
}

describe('a program on a database', () => {
  test('applies what is missing, in order', () => {
    const mine = [known(1), known(2), known(3)]
    expect(plan('0.2.0', mine, [])).toMatchObject({ apply: ['0001', '0002', '0003'], later: [] })
    expect(plan('0.2.0', mine, [applied(1)])).toMatchObject({ apply: ['0002', '0003'] })
    expect(plan('0.2.0', mine, [applied(1), applied(2), applied(3)])).toMatchObject({ apply: [] })
  })

  test('works on one that a newer version has upgraded, as long as that allows it', () => {
    const there = [applied(1), applied(2, '0.2.0'), applied(3, '0.3.0')]
    expect(plan('0.3.0', [known(1), known(2)], there)).toMatchObject({ apply: [], later: [] })
    expect(plan('0.3.1', [known(1), known(2)], there)).toMatchObject({ apply: [] })
    expect(plan('0.2.9', [known(1), known(2)], there)).toEqual({
      refusal:
        'this database was upgraded by 0.4.0, with 0003, and needs at least 0.3.0; this is 0.2.9: ' +
        'install 0.3.0 or later',
      passing: false,
    })
  })

  test('does not ask for a version below one that it knows the migration of', () => {
    const there = [applied(1, '9.0.0'), applied(2, '9.0.0')]
    expect(plan('0.1.0', [known(1, '9.0.0')], there)).toMatchObject({ apply: [] })
  })

  test('refuses one that was made with other migrations', () => {
    const there = [{ ...applied(1), hash: 'another' }]
    expect(plan('0.2.0', [known(1)], there)).toMatchObject({
      refusal: expect.stringContaining('must not change'),
    })
  })

  test('applies beside an older server what that one can live with', () => {
    const mine = [known(1), known(2), known(3, '0.2.0')]
    expect(plan('0.3.0', mine, [applied(1)], two('0.2.0'))).toMatchObject({
      apply: ['0002', '0003'],
      reason: undefined,
    })
    expect(plan('0.3.0', mine, [applied(1)], two('0.10.0'))).toMatchObject({
      apply: ['0002', '0003'],
    })
  })

  test('refuses beside a server that could not live with what it needs', () => {
    const mine = [known(1), known(2), known(3, '0.3.0')]
    expect(plan('0.4.0', mine, [applied(1)], two('0.2.1'))).toEqual({
      refusal:
        'server two runs 0.2.1, which cannot work on the database after 0003; that needs at least ' +
        '0.3.0: upgrade that server first, or stop it',
      passing: true,
    })
    expect(plan('0.4.0', mine, [applied(1)])).toMatchObject({ apply: ['0002', '0003'] })
  })

  test('goes on without what can wait for the older server, and with nothing behind that', () => {
    const mine = [known(1), known(2), known(3, '0.3.0', true), known(4, '0.3.0', true)]
    expect(plan('0.4.0', mine, [applied(1)], two('0.2.1'))).toEqual({
      apply: ['0002'],
      later: ['0003', '0004'],
      reason:
        'server two runs 0.2.1, which cannot work on the database after 0003; that needs at least 0.3.0',
    })
    const needed = [...mine, known(5, '0.3.0')]
    expect(plan('0.4.0', needed, [applied(1)], two('0.2.1'))).toMatchObject({ passing: true })
    expect(plan('0.4.0', needed, [applied(1)], two('0.3.0'))).toMatchObject({
      apply: ['0002', '0003', '0004', '0005'],
    })
  })

  test('leaves out what the version could not live with to which it may have to go back', () => {
    const mine = [known(1), known(2), known(3, '0.3.0', true)]
    const onTrial = (known: typeof mine) =>
      planSchema({
        program: { version: '0.3.0', previous: '0.2.0' },
        known,
        applied: [applied(1)],
        running: [],
      })
    expect(onTrial(mine)).toMatchObject({
      apply: [{ name: '0002' }],
      later: [{ name: '0003' }],
      reason:
        '0.3.0 is on trial and may go back to 0.2.0, which cannot work on the database after 0003; that needs at least 0.3.0',
    })
    expect(onTrial([known(1), known(2, '0.3.0')])).toMatchObject({
      refusal: expect.stringMatching(/stop both servers and start this version by hand/),
      passing: false,
    })
  })

  test('takes a pre-release for what it precedes, and an unknown version for the oldest', () => {
    const mine = [known(1), known(2, '0.3.0')]
    expect(plan('0.4.0', mine, [applied(1)], two('0.3.0-rc.1'))).toMatchObject({ apply: ['0002'] })
    expect(plan('0.4.0', mine, [applied(1)], two('nightly'))).toMatchObject({ passing: true })
  })
})

describe('the first lines of a migration', () => {
  test('may name the oldest version that can work after it', () => {
    expect(compatibilityOf('-- compatible-from: 0.3.0\n-- Why.\nSELECT 1;', '0.1.0')).toEqual({
      compatibleFrom: '0.3.0',
      mayWait: false,
    })
    expect(compatibilityOf('-- Why.\n-- compatible-from: 0.3.0\n-- may-wait\n', '0.1.0')).toEqual({
      compatibleFrom: '0.3.0',
      mayWait: true,
    })
  })

  test('leave it at what held before, and cannot lower it', () => {
    expect(compatibilityOf('SELECT 1;', '0.2.0').compatibleFrom).toBe('0.2.0')
    expect(compatibilityOf('-- compatible-from: 0.1.0\n', '0.2.0').compatibleFrom).toBe('0.2.0')
    expect(compatibilityOf('SELECT 1;\n-- compatible-from: 0.9.0\n', '0.2.0').compatibleFrom).toBe(
      '0.2.0',
    )
  })

  test('must name a version', () => {
    expect(() => compatibilityOf('-- compatible-from: next\n', '0.1.0')).toThrow(
      'next is not a version like 0.2.0',
    )
  })
})
