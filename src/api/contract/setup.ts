import { z } from 'zod'

/** How the network finds the active server. */
const connection = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('none') }),
  z.strictObject({
    type: z.literal('virtual-ip'),
    addresses: z
      .array(
        z.strictObject({
          address: z.union([z.ipv4(), z.ipv6()], { error: 'must be an IPv4 or IPv6 address' }),
          /** 24 for a netmask of 255.255.255.0. */
          prefix: z.number().int().min(1).max(128),
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
      recipients: z.array(z.email()).max(50),
      from: z.email(),
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
