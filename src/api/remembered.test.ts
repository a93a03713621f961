import { describe, expect, test } from 'vitest'
import { type Edge, password, startEdge } from '../../test/fixtures/http-edge.ts'
import { DatabaseAway } from '../lib/errors.ts'
import { basePath } from './contract/index.ts'
import { rememberLogIns } from './remembered.ts'
import type { SessionStores } from './routes/session.ts'

const away = new DatabaseAway('connection refused', 'nothing-written')
const expires = new Date(10_000_000_000_000)
const session = {
  user: { id: '1', name: 'ann', role: 'viewer' as const, mustChange: false },
  expires,
}

/** Stores whose answers a test decides, and a clock that it turns. */
function setUp() {
  const time = { now: 1000 }
  let answer: () => Promise<typeof session | null> = async () => session
  let asked = 0
  const stores = {
    users: { changePassword: async () => true },
    sessions: {
      find: () => {
        asked++
        return answer()
      },
      remove: async () => {},
    },
    tokens: { find: async () => null, remove: async () => true },
  } as unknown as SessionStores<object>
  const remembered = rememberLogIns(stores, { wall: () => time.now, monotonic: () => time.now })
  return {
    time,
    find: (secret = 's') => remembered.sessions.find(secret),
    remembered,
    asked: () => asked,
    answers: (next: typeof answer) => {
      answer = next
    },
  }
}

describe('who is logged in', () => {
  test('is asked of the database each time while that answers', async () => {
    const { find, asked, answers } = setUp()
    expect(await find()).toEqual(session)
    answers(async () => null)
    expect(await find()).toBeNull()
    expect(asked()).toBe(2)
  })

  test('is believed for five minutes while the database is away', async () => {
    const { find, answers, time } = setUp()
    await find()
    answers(async () => Promise.reject(away))
    time.now += 299_000
    expect(await find()).toEqual(session)
    await expect(find('unknown')).rejects.toThrow(away)
    time.now += 2000
    await expect(find()).rejects.toThrow(away)
  })

  test('is known at once again while the database does not answer at all, which is asked once', async () => {
    const { find, answers, time, asked } = setUp()
    await find()
    const { promise, resolve } = Promise.withResolvers<null>()
    answers(() => promise)
    expect(await find()).toEqual(session)
    time.now += 1000
    const before = asked()
    for (let i = 0; i < 20; i++) expect(await find()).toEqual(session)
    expect(asked()).toBe(before)
    resolve(null)
    await promise
    expect(await find()).toBeNull()
  })

  test('ends at the end of the session, though the database be away', async () => {
    const { find, answers, time } = setUp()
    answers(async () => ({ ...session, expires: new Date(5000) }))
    await find()
    answers(async () => Promise.reject(away))
    time.now = 6000
    await expect(find()).rejects.toThrow(away)
  })

  test('is forgotten at log-out, and when a password changes', async () => {
    for (const end of ['log-out', 'password'] as const) {
      const { find, answers, remembered } = setUp()
      await find()
      if (end === 'log-out') await remembered.sessions.remove('s')
      else await remembered.users.changePassword({}, '1', 'hash')
      answers(async () => Promise.reject(away))
      await expect(find()).rejects.toThrow(away)
    }
  })

  test('is not remembered by an answer that began before the log-out', async () => {
    const { find, answers, remembered } = setUp()
    const { promise, resolve } = Promise.withResolvers<typeof session>()
    answers(() => promise)
    const asking = find()
    await remembered.sessions.remove('s')
    resolve(session)
    await asking
    answers(async () => Promise.reject(away))
    await expect(find()).rejects.toThrow(away)
  })

  test('is not believed when the store itself is at fault', async () => {
    const { find, answers } = setUp()
    await find()
    answers(async () => Promise.reject(new TypeError('a defect')))
    await expect(find()).rejects.toThrow('a defect')
  })

  test('is remembered for a bounded number', async () => {
    const { find, answers } = setUp()
    for (let i = 0; i <= 1000; i++) await find(`secret ${i}`)
    answers(async () => Promise.reject(away))
    await expect(find('secret 0')).rejects.toThrow(away)
    expect(await find('secret 1')).toEqual(session)
  })
})

test('while the database is away, the pair is still seen by those who are logged in', async () => {
  const edge: Edge = await startEdge()
  const headers = { cookie: edge.cookieOf('viewer') }
  const pair = () => edge.call('GET', `${basePath}/pair`, { headers })
  expect((await pair()).status).toBe(200)
  edge.state.broken = away
  expect((await pair()).status).toBe(200)
  const devices = await edge.call('GET', `${basePath}/devices`, { headers })
  expect(devices).toMatchObject({ status: 503, json: { error: { code: 'unavailable' } } })
  const logIn = await edge.call('POST', `${basePath}/session`, {
    body: { user: 'viewer', password },
  })
  expect(logIn.json.error.message).toBe(
    'the database does not answer at present; try again in a moment',
  )
  const logOut = await edge.call('DELETE', `${basePath}/session`, { headers })
  expect(logOut.status).toBe(503)
  expect(logOut.headers['set-cookie']![0]).toContain('keepwatch=;')
  await edge.stop()
})
