import { describe, expect, test } from 'vitest'
import type { Client } from './client.ts'
import { ApiError } from './errors.ts'
import { codeIn, createHandOver, pageAt } from './hand-over.ts'
import { createWho } from './who.ts'

const minute = 60_000

/** A page at kw1, time that is moved by hand, a server that gives the codes 1, 2, 3 … */
function createFakePage(consoles = ['https://kw1.test/', 'https://kw2.test/']) {
  const page = { now: 0, visible: true, up: true, asked: 0 }
  let waiting: { at: number; action: () => void }[] = []
  const handOver = createHandOver(
    {
      async request() {
        page.asked++
        if (!page.up) throw new TypeError('Failed to fetch')
        return { code: String(page.asked) }
      },
      now: () => page.now,
      later(action, ms) {
        const timer = { at: page.now + ms, action }
        waiting.push(timer)
        return () => {
          waiting = waiting.filter(one => one !== timer)
        }
      },
      visible: () => page.visible,
      consoles: () => consoles,
    },
    'kw1.test',
  )
  async function pass(ms: number) {
    const end = page.now + ms
    for (;;) {
      await new Promise(resolve => setImmediate(resolve))
      const next = waiting.toSorted((a, b) => a.at - b.at)[0]
      if (next === undefined || next.at > end) break
      page.now = next.at
      waiting = waiting.filter(one => one !== next)
      next.action()
    }
    page.now = end
  }
  return { page, handOver, pass, timers: () => waiting.length }
}

describe('a page that may have to go on at another host name', () => {
  test('has a fresh code when the server that gives them has died', async () => {
    const { page, handOver, pass } = createFakePage()
    handOver.start()
    await pass(20 * minute)
    expect(page.asked).toBe(5)
    page.up = false
    await pass(minute)
    expect(await handOver.linkTo('https://kw2.test/logs?range=1h')).toBe(
      'https://kw2.test/logs?range=1h#hand-over=5',
    )
    handOver.stop()
  })

  test('gives each code out once, and gets another one where it can', async () => {
    const { handOver, pass } = createFakePage()
    handOver.start()
    await pass(1000)
    expect(await handOver.linkTo('https://kw2.test/')).toMatch(/=1$/)
    expect(await handOver.linkTo('https://kw2.test/')).toMatch(/=2$/)
  })

  test('goes without one that is too old, and does not wait for ever for a new one', async () => {
    const { page, handOver, pass } = createFakePage()
    handOver.start()
    await pass(1000)
    page.up = false
    await pass(10 * minute)
    const link = handOver.linkTo('https://kw2.test/')
    await pass(2000)
    expect(await link).toBe('https://kw2.test/')
  })

  test('asks for nothing while nobody sees it, where nobody needs it, or after its end', async () => {
    const hidden = createFakePage()
    hidden.page.visible = false
    hidden.handOver.start()
    await hidden.pass(10 * minute)
    expect(hidden.page.asked).toBe(0)
    hidden.handOver.stop()
    expect(hidden.timers()).toBe(0)

    const same = createFakePage(['https://kw1.test:8440/', 'https://kw1.test:8441/'])
    same.handOver.start()
    await same.pass(10 * minute)
    expect(same.page.asked).toBe(0)
    expect(await same.handOver.linkTo('https://kw1.test:8441/')).toBe('https://kw1.test:8441/')
  })
})

test('the same page of another console is found, and that of a standby on purpose', () => {
  const location = { pathname: '/logs', search: '?range=1h&here=1' }
  expect(pageAt('https://kw2.test/', location)).toBe('https://kw2.test/logs?range=1h')
  expect(pageAt('https://kw2.test', { pathname: '/', search: '' }, true)).toBe(
    'https://kw2.test/?here=1',
  )
})

test('the code is read out of the fragment, and nothing else is taken for one', () => {
  expect(codeIn('#hand-over=a-b_c')).toBe('a-b_c')
  expect(codeIn('#alarms')).toBeUndefined()
  expect(codeIn('')).toBeUndefined()
})

describe('who arrives with a code', () => {
  const ann = { user: 'ann', role: 'viewer', mustChangePassword: false, expires: null }
  const nobody = () => Promise.reject(new ApiError('not-logged-in', 'log in', 401))
  const { signal } = new AbortController()

  function arrive(answers: { getSession?: unknown; takeOverSession?: () => Promise<unknown> }) {
    const called: string[] = []
    const client = {
      call(name: string) {
        called.push(name)
        if (name === 'takeOverSession') return answers.takeOverSession!()
        return answers.getSession === undefined ? nobody() : Promise.resolve(answers.getSession)
      },
    } as unknown as Client
    return { called, who: createWho(client, 'the code') }
  }

  test('is logged in with it, once', async () => {
    const { who, called } = arrive({ takeOverSession: async () => ann })
    expect(await who(signal)).toEqual(ann)
    expect(await who(signal)).toBeNull()
    expect(called).toEqual(['getSession', 'takeOverSession', 'getSession'])
  })

  test('stays who he is if he is logged in already', async () => {
    const { who, called } = arrive({ getSession: ann })
    expect(await who(signal)).toEqual(ann)
    expect(called).toEqual(['getSession'])
  })

  test('comes to the log-in page if it is not good', async () => {
    const { who } = arrive({ takeOverSession: nobody })
    expect(await who(signal)).toBeNull()
  })

  test('tries it again if no answer came', async () => {
    let tries = 0
    const { who } = arrive({
      async takeOverSession() {
        if (++tries === 1) throw new ApiError('network', 'no answer')
        return ann
      },
    })
    await expect(who(signal)).rejects.toThrow('no answer')
    expect(await who(signal)).toEqual(ann)
  })
})
