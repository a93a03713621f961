import { z } from 'zod'
import { endpoint, moment, roles } from './endpoint.ts'

const session = z.object({
  user: z.string(),
  role: z.enum(roles),
  /** True until the first password was changed; nothing else is allowed before. */
  mustChangePassword: z.boolean(),
  expires: moment.nullable(),
})

const newPassword = z.string().min(12, 'at least 12 characters').max(256, 'at most 256 characters')

const token = z.object({
  id: z.uuid(),
  name: z.string(),
  role: z.enum(roles),
  createdBy: z.string(),
  created: moment,
  expires: moment.nullable(),
})

export const sessionEndpoints = {
  logIn: endpoint({
    method: 'POST',
    path: '/session',
    summary: 'Log in; sets the session cookie',
    tag: 'session',
    role: 'anyone',
    write: false,
    body: z.object({ user: z.string().min(1).max(100), password: z.string().min(1).max(256) }),
    response: session,
  }),
  getSession: endpoint({
    method: 'GET',
    path: '/session',
    summary: 'Who is logged in',
    tag: 'session',
    role: 'viewer',
    write: false,
    response: session,
  }),
  logOut: endpoint({
    method: 'DELETE',
    path: '/session',
    summary: 'Log out',
    tag: 'session',
    role: 'anyone',
    write: false,
    response: z.object({}),
  }),
  handOverSession: endpoint({
    method: 'POST',
    path: '/session/hand-over',
    summary:
      'A code to go on at the other server under another host name: once, within ten minutes',
    tag: 'session',
    role: 'viewer',
    write: false,
    response: z.object({ code: z.string(), expires: moment }),
  }),
  takeOverSession: endpoint({
    method: 'POST',
    path: '/session/take-over',
    summary: 'Go on with such a code; sets the session cookie of this host name',
    tag: 'session',
    role: 'anyone',
    write: false,
    body: z.strictObject({ code: z.string().min(1).max(200) }),
    response: session,
  }),
  changePassword: endpoint({
    method: 'POST',
    path: '/session/password',
    summary: 'Change the own password',
    tag: 'session',
    role: 'viewer',
    write: true,
    body: z.object({ current: z.string().min(1).max(256), next: newPassword }),
    response: session,
  }),
  listTokens: endpoint({
    method: 'GET',
    path: '/tokens',
    summary: 'API tokens (never their secret)',
    tag: 'session',
    role: 'administrator',
    write: false,
    response: z.object({ tokens: z.array(token) }),
  }),
  createToken: endpoint({
    method: 'POST',
    path: '/tokens',
    summary: 'Make an API token; the secret is shown this once',
    tag: 'session',
    role: 'administrator',
    write: true,
    body: z.object({
      name: z.string().trim().min(1).max(100),
      role: z.enum(roles),
      expires: moment.nullable().default(null),
    }),
    response: z.object({ token, secret: z.string() }),
  }),
  deleteToken: endpoint({
    method: 'DELETE',
    path: '/tokens/:id',
    summary: 'Revoke an API token',
    tag: 'session',
    role: 'administrator',
    write: true,
    params: z.object({ id: z.uuid() }),
    response: z.object({}),
  }),
}
