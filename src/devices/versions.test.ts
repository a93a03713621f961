import { expect, test } from 'vitest'
import { drivers } from './drivers/index.ts'
import { difference, normalise } from './versions.ts'

const ios = drivers.get('cisco-ios')!

const answer = (changes: { header?: string; hostname?: string; bytes?: number }) =>
  `Building configuration...

Current configuration : ${changes.bytes ?? 1000} bytes
!
! Last configuration change at ${changes.header ?? '09:37:40 CEST Tue Aug 20 2024 by alice'}
!
hostname ${changes.hostname ?? 'core1'}
ntp clock-period 36029056
end

`

test('what is kept is the configuration alone, and who changed it is known from its header', () => {
  const { content, author, changedAt } = normalise(ios, answer({}))
  expect(content).toBe(
    '!\n! Last configuration change at 09:37:40 CEST Tue Aug 20 2024 by alice\n!\nhostname core1\nend\n',
  )
  expect({ author, changedAt }).toEqual({
    author: 'alice',
    changedAt: '09:37:40 CEST Tue Aug 20 2024',
  })
})

test('a header without a user says when, not who', () => {
  const { author, changedAt } = normalise(ios, answer({ header: '09:37:40 UTC Tue Aug 20 2024' }))
  expect({ author, changedAt }).toEqual({
    author: undefined,
    changedAt: '09:37:40 UTC Tue Aug 20 2024',
  })
})

test('noise makes no new version, a change does, with its lines counted', () => {
  const first = normalise(ios, answer({}))
  const same = normalise(ios, answer({ header: '11:00:00 UTC Wed Aug 21 2024 by bob', bytes: 7 }))
  const other = normalise(ios, answer({ hostname: 'core2' }))
  expect(difference(ios, first, same)).toBeUndefined()
  expect(difference(ios, first, other)).toEqual({ added: 1, removed: 1 })
  expect(difference(ios, undefined, first)).toEqual({ added: 4, removed: 0 })
})
