import { z } from 'zod'
import { endpoint, moment, paging } from './endpoint.ts'

const noticeStates = ['waiting', 'sending', 'ending', 'sent', 'failed'] as const

/** One message to one recipient. */
const notice = z.object({
  id: z.number().int(),
  class: z.enum(['self-monitoring', 'synchronization', 'takeover', 'test']),
  channel: z.enum(['mail', 'webhook']),
  /** A mail address, or host and port of the webhook. */
  recipient: z.string(),
  subject: z.string(),
  /** `ending`: the recipient may have it, the answer is outstanding. */
  state: z.enum(noticeStates),
  attempts: z.number().int(),
  /** What the last attempt that failed was told. */
  failure: z.string().nullable(),
  created: moment,
  sentAt: moment.nullable(),
})

const condition = z.object({
  /** As the key of the alarm that it raises. */
  key: z.string(),
  class: z.enum(['self-monitoring', 'synchronization']),
  severity: z.enum(['warning', 'critical']),
  subject: z.string(),
  text: z.string(),
})

export const noticeEndpoints = {
  listNotices: endpoint({
    method: 'GET',
    path: '/notices',
    summary: 'Mails and calls of the webhook, newest first',
    tag: 'watch',
    role: 'operator',
    write: false,
    query: z.object({ ...paging, state: z.enum(noticeStates).optional() }),
    response: z.object({ notices: z.array(notice), next: z.string().nullable() }),
  }),
  sendTestNotice: endpoint({
    method: 'POST',
    path: '/notices/test',
    summary: 'Send a test to every recipient and the webhook; answers how far it got in 15 s',
    tag: 'watch',
    role: 'administrator',
    write: true,
    response: z.object({ notices: z.array(notice) }),
  }),
  listConditions: endpoint({
    method: 'GET',
    path: '/conditions',
    summary: 'What is wrong now as the answering server sees it, also while the database is away',
    tag: 'watch',
    role: 'viewer',
    write: false,
    response: z.object({ conditions: z.array(condition) }),
  }),
}
