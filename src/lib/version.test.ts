import { expect, test } from 'vitest'
import { obstacleBetween } from './version.ts'

test.each([
  ['0.3.0', '0.3.7'],
  ['0.3.0', '0.4.1'],
  ['1.9.2', '1.8.0'],
  ['0.3.0', '0.4.0-rc.1'],
])('%s and %s can be a pair', (one, other) => {
  expect(obstacleBetween(one, other)).toBeUndefined()
  expect(obstacleBetween(other, one)).toBeUndefined()
})

test.each([
  ['0.3.0', '0.5.0', 'upgrade from one release to the next'],
  ['0.9.0', '1.0.0', '1.0.0 is neither'],
  ['0.3.0', 'latest', 'latest is no version'],
])('%s and %s cannot, and it says why', (one, other, why) => {
  expect(obstacleBetween(one, other)).toContain(why)
})
