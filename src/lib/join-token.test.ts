import { randomBytes, randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { formatJoinToken, parseJoinToken, sealJoin, unsealJoin } from './join-token.ts'

const token = {
  id: randomUUID(),
  secret: randomBytes(32),
  fingerprint: randomBytes(32).toString('base64url'),
}

test('a token is read as it was written, with blanks around it too', () => {
  expect(parseJoinToken(`  ${formatJoinToken(token)}\n`)).toEqual(token)
})

test.each([
  ['nothing', ''],
  ['another token', 'kw_abc'],
  ['half a line', formatJoinToken(token).slice(0, -5)],
  ['a line too much', `${formatJoinToken(token)}a`],
])('%s is refused without showing the secret', (_what, text) => {
  expect(() => parseJoinToken(text)).toThrow(/begins with kwj_ and has three parts/)
  expect(() => parseJoinToken(text)).not.toThrow(token.secret.toString('base64url'))
})

test('what was sealed opens with the same token, message and nonce, and with no other', () => {
  const sealed = sealJoin(token, 'request', 'nonce', { name: 'kw2' })
  expect(unsealJoin(token, 'request', 'nonce', sealed)).toEqual({ name: 'kw2' })
  expect(unsealJoin(token, 'answer', 'nonce', sealed)).toBeUndefined()
  expect(unsealJoin(token, 'request', 'other', sealed)).toBeUndefined()
  const stranger = { ...token, secret: randomBytes(32) }
  expect(unsealJoin(stranger, 'request', 'nonce', sealed)).toBeUndefined()
  expect(unsealJoin({ ...token, id: randomUUID() }, 'request', 'nonce', sealed)).toBeUndefined()
})

test('a bit that was changed anywhere is noticed', () => {
  const bytes = Buffer.from(sealJoin(token, 'answer', 'nonce', { key: 'secret' }), 'base64url')
  expect(bytes.toString()).not.toContain('secret')
  for (let at = 0; at < bytes.length; at++) {
    const altered = Buffer.from(bytes)
    altered[at]! ^= 1
    const opened = unsealJoin(token, 'answer', 'nonce', altered.toString('base64url'))
    expect({ at, opened }).toEqual({ at, opened: undefined })
  }
  expect(unsealJoin(token, 'answer', 'nonce', 'abc')).toBeUndefined()
})
