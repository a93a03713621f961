import { z } from 'zod'
import { endpoint, moment } from './endpoint.ts'

/** How the network finds the active server. */
const connection = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('none') }),
  z.strictObject({
    type: z.literal('virtual-ip'),
    addresses: z
      .array(
        z
          .strictObject({
            address: z.union([z.ipv4(), z.ipv6()], { error: 'must be an IPv4 or IPv6 address' }),
            /** 24 for a netmask of 255.255.255.0. */
            prefix: z.number().int().min(1).max(128),
          })
          .refine(({ address, prefix }) => address.includes(':') || prefix <= 32, {
            path: ['prefix'],
            error: 'of an IPv4 address is at most 32; 24 stands for 255.255.255.0',
          }),
      )
      .min(1)
      .max(8),
  }),
  z.strictObject({
    type: z.literal('virtual-name'),
    name: z.string().min(1).max(253),
    zone: z.string().min(1).max(253).optional(),
    /** Of the primary name server, with `:port` if it is not 53. */
    server: z.string().min(1).max(300),
    /** Seconds that others may remember the answer. */
    ttl: z.number().int().min(1).max(3600).default(30),
    tsig: z
      .strictObject({
        name: z.string().min(1).max(253),
        algorithm: z.enum(['hmac-sha256', 'hmac-sha384', 'hmac-sha512']).default('hmac-sha256'),
      })
      .optional(),
  }),
])

const mailAddress = z.email('must be an e-mail address like ops@example.net')

/** What a person sets for the whole pair; kept in the state, so both servers have it. */
export const pairSettings = z.strictObject({
  /** Name or address of the second machine, as it was given when failover was enabled. */
  secondary: z.string().max(253).nullable().default(null),
  /** Where both servers have mounted the shared folder: an absolute path, the same on both. */
  sharedFolder: z
    .string()
    .regex(/^\/./, 'must be an absolute path, the same on both servers')
    .nullable()
    .default(null),
  connection: connection.prefault({ type: 'none' }),
  mail: z
    .strictObject({
      recipients: z.array(mailAddress).max(50),
      from: mailAddress,
      host: z.string().min(1).max(253),
      port: z.number().int().min(1).max(65_535).default(25),
      /** `starttls` demands it; `opportunistic` uses it where it is offered. */
      security: z.enum(['none', 'opportunistic', 'starttls', 'tls']).default('opportunistic'),
      user: z.string().max(200).optional(),
      /** Which kinds of mail are sent. */
      classes: z
        .array(z.enum(['self-monitoring', 'synchronization', 'takeover']))
        .default(['self-monitoring', 'synchronization', 'takeover']),
    })
    .nullable()
    .default(null),
  /** Told the same as the mail's recipients: a POST of JSON, signed if there is a secret. */
  webhook: z
    .url({ protocol: /^https?$/ })
    .nullable()
    .default(null),
})
export type PairSettings = z.output<typeof pairSettings>

/** Written, never read back; what is not named stays, null removes. */
export const pairSecrets = z.strictObject({
  smtpPassword: z.string().max(1000).nullable().optional(),
  /** Base64, as in the name server's key file. */
  tsigSecret: z.base64().max(1000).nullable().optional(),
  webhookSecret: z.string().max(1000).nullable().optional(),
})

const storedSettings = z.object({
  settings: pairSettings,
  /** Which secrets there are. */
  secrets: z.object({
    smtpPassword: z.boolean(),
    tsigSecret: z.boolean(),
    webhookSecret: z.boolean(),
  }),
  /** To be sent back with a change; 0 before the first. */
  version: z.number().int(),
  changedAt: moment.nullable(),
  changedBy: z.string().nullable(),
})
export type StoredPairSettings = z.output<typeof storedSettings>

/** What one check of the prerequisites found. */
export const finding = z.object({
  /** Of the check; stays the same. */
  id: z.string(),
  title: z.string(),
  result: z.enum(['pass', 'warning', 'failure', 'skipped']),
  /** What was found. */
  text: z.string(),
  /** Null where nothing is to be done. */
  whatToDo: z.string().nullable(),
})

/** What a machine that joins says of itself; travels encrypted. */
export const joinRequest = z.object({
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,15}$/, {
    error: 'must be lower-case letters, digits and hyphens, at most 16',
  }),
  /** At which the first machine reaches it; null: as failover was enabled for it. */
  address: z.string().min(1).max(253).nullable(),
  /** Its other names and addresses, for its certificates. */
  hosts: z.array(z.string().min(1).max(253)).max(50),
  /** PEM, of its certificate on the link and of that of its console. */
  publicKey: z.string().max(2000),
  consolePublicKey: z.string().max(2000),
  version: z.string().max(50),
})
export type JoinRequest = z.output<typeof joinRequest>

/** What it needs to be the second server; travels encrypted. */
export const joinAnswer = z.object({
  version: z.string(),
  primary: z.object({ name: z.string(), linkHost: z.string(), linkPort: z.number().int() }),
  address: z.string(),
  ca: z.string(),
  /** So that either server can issue; null if the first has it not. */
  caKey: z.string().nullable(),
  certificate: z.string(),
  /** Null if the first has plain HTTP, or no key to issue one with. */
  consoleCertificate: z.string().nullable(),
  deploymentKey: z.string(),
  /** Null: each server has one of its own. */
  databaseUrl: z.string().nullable(),
  console: z.object({ host: z.string(), port: z.number().int(), tls: z.boolean() }),
  link: z.object({ host: z.string(), port: z.number().int() }),
  /** As in the settings file of the first; the same on both. */
  failover: z.record(z.string(), z.unknown()),
  /** The same of the collector inside; null: it has none. */
  collect: z.record(z.string(), z.unknown()).nullable().default(null),
  settings: pairSettings,
})
export type JoinAnswer = z.output<typeof joinAnswer>

const base64url = (most: number) =>
  z
    .string()
    .max(most)
    .regex(/^[\w-]+$/, 'must be base64url')

export const setupEndpoints = {
  getPairSettings: endpoint({
    method: 'GET',
    path: '/pair/settings',
    summary: 'Connection type, shared folder, recipients; never a secret',
    tag: 'setup',
    role: 'viewer',
    write: false,
    response: storedSettings,
  }),
  changePairSettings: endpoint({
    method: 'PUT',
    path: '/pair/settings',
    summary: 'Set them, if nobody else has since they were read',
    tag: 'setup',
    role: 'administrator',
    write: true,
    body: z.strictObject({
      settings: pairSettings,
      secrets: pairSecrets.prefault({}),
      version: z.number().int().min(0),
    }),
    response: storedSettings,
  }),
  createJoinToken: endpoint({
    method: 'POST',
    path: '/pair/join-tokens',
    summary: 'A line that lets a second machine join, once and within an hour',
    tag: 'setup',
    role: 'administrator',
    write: true,
    response: z.object({ id: z.uuid(), line: z.string(), expires: moment }),
  }),
  joinPair: endpoint({
    method: 'POST',
    path: '/pair/join',
    summary: 'Join; request and answer are encrypted under the token',
    tag: 'setup',
    role: 'anyone',
    write: true,
    body: z.strictObject({
      /** Of the token. */
      id: z.uuid(),
      nonce: base64url(64),
      sealed: base64url(20_000),
    }),
    response: z.object({ sealed: z.string() }),
  }),
  startPreflight: endpoint({
    method: 'POST',
    path: '/pair/preflight',
    summary: 'Check every prerequisite of the pair, on both servers',
    tag: 'setup',
    role: 'operator',
    write: false,
    response: z.object({ id: z.uuid() }),
  }),
  getPreflight: endpoint({
    method: 'GET',
    path: '/pair/preflight',
    summary: 'What the last check of the prerequisites found, null before the first',
    tag: 'setup',
    role: 'viewer',
    write: false,
    response: z.object({
      preflight: z
        .object({
          id: z.uuid(),
          by: z.string(),
          started: moment,
          /** Null while it runs. */
          finished: moment.nullable(),
          ok: z.boolean().nullable(),
          findings: z.array(finding),
        })
        .nullable(),
    }),
  }),
}
