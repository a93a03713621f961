import { expect, test } from 'vitest'
import type { HandlerCall } from '../handler.ts'
import { noticeRoutes } from './notices.ts'

const sent = {
  ...{ id: 5, class: 'test' as const, attempts: 1, failure: null, subject: 'A test' },
  ...{ state: 'sent' as const, created: new Date(0), sentAt: new Date(1000) },
}
const mail = { ...sent, channel: 'mail' as const, recipient: 'ada@example.test' }
const webhook = { ...sent, channel: 'webhook' as const, recipient: 'https://hook.test/a-secret' }

/** @param answers what the outbox says of the test, one after the other */
function setUp(answers: (typeof mail)[][], keys = ['test/1/ada@example.test']) {
  const nudged: string[] = []
  const routes = noticeRoutes<object>({
    outbox: {
      list: async () => ({ rows: [mail, webhook], next: null }),
      find: async () => (answers.length > 1 ? answers.shift()! : answers[0]!),
    },
    notices: { test: async () => keys, nudge: () => nudged.push('nudged') },
    conditions: () => [],
    write: (_caller, _line, work) => work({}),
    now: () => 0,
  })
  const call = { caller: { name: 'ada' }, query: {}, signal: new AbortController().signal }
  return { routes, nudged, call: call as unknown as HandlerCall<never> }
}

test('notices are listed without what lets others call the webhook', async () => {
  const { routes, call } = setUp([])
  const { notices } = await routes.listNotices(call)
  expect(notices.map(({ recipient }) => recipient)).toEqual(['ada@example.test', 'hook.test'])
})

test('a test is sent at once, and answers what became of it', async () => {
  const waiting = { ...mail, state: 'waiting' as never, attempts: 0 }
  const { routes, nudged, call } = setUp([[waiting], [mail]])
  const { notices } = await routes.sendTestNotice(call)
  expect(notices).toMatchObject([{ state: 'sent', sentAt: '1970-01-01T00:00:01.000Z' }])
  expect(nudged).toEqual(['nudged'])
})

test('one that failed and waits to be tried again is an answer, too', async () => {
  const failed = { ...mail, state: 'waiting' as never, failure: '451 later' as never }
  const { routes, call } = setUp([[failed]])
  expect((await routes.sendTestNotice(call)).notices).toMatchObject([{ failure: '451 later' }])
})

test('without anybody to be told a test says what to set', async () => {
  const { routes, call } = setUp([[]], [])
  await expect(routes.sendTestNotice(call)).rejects.toThrow(/set mail recipients or a webhook/)
})
