import { z } from 'zod'

/** What a caller must be allowed; each includes those before it. */
export const roles = ['viewer', 'operator', 'administrator'] as const
export type Role = (typeof roles)[number]

/**
 * One operation of the API. The server validates by it and answers in it, the OpenAPI document is
 * made from it, and the console's client is typed by it: there is no other description.
 */
export interface Endpoint {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Under /api/v1, with `:name` for each key of `params`. */
  path: string
  summary: string
  tag: string
  /** `anyone`: no session and no token needed. */
  role: Role | 'anyone'
  /** True: changes state, so only the active does it; a standby answers 409 `not-active`. */
  write: boolean
  params?: z.ZodObject
  query?: z.ZodObject
  body?: z.ZodObject
  /** How long it may take, if not as long as most. */
  deadlineMs?: number
  /** `stream`: server-sent events, each `data` a JSON of `response`. */
  stream?: boolean
  response: z.ZodType
}

/** Ties the literal schemas to the endpoint's type. */
export function endpoint<const E extends Endpoint>(definition: E): E {
  return definition
}

/** Every error answer: HTTP status by `code`. */
export const errorCodes = {
  'bad-request': 400,
  'not-logged-in': 401,
  'password-change-required': 403,
  'not-allowed': 403,
  'not-found': 404,
  /** The body names the active server. */
  'not-active': 409,
  conflict: 409,
  /** A question that would take too long; `anyway` asks it all the same. */
  'too-large': 422,
  'too-many-requests': 429,
  internal: 500,
  unavailable: 503,
  timeout: 504,
} as const
export type ErrorCode = keyof typeof errorCodes

export const errorBody = z.object({
  error: z.object({
    code: z.enum(Object.keys(errorCodes) as [ErrorCode, ...ErrorCode[]]),
    /** One sentence for a person: what is wrong and what would be right. */
    message: z.string(),
    /** With `not-active`: the console URL of the active server, null if nobody is. */
    active: z.string().nullable().optional(),
  }),
})

/** Moments travel as ISO 8601 in UTC. */
export const moment = z.iso.datetime().describe('ISO 8601, UTC')

/** A range of time; the default is the last hour. */
export const timeRange = {
  from: moment.optional().describe('Inclusive; an hour before `to` by default'),
  to: moment.optional().describe('Exclusive; now by default'),
}

/** Keyset paging: `next` of one answer is `cursor` of the following question; null at the end. */
export const paging = {
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  cursor: z.string().max(200).optional(),
}
