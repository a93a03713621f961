/** The settings of a collector. */
import { z } from 'zod'

const port = z
  .union([z.number().int().min(0).max(65_535), z.literal(false)], {
    error: 'must be a port (0 to 65535, 0 for any free one), or false to not listen',
  })
  .describe('A port, 0 for any free one, false to not listen')

const megabyte = 1024 * 1024

/** PEM files of the listeners with TLS. */
const streamTls = z.strictObject({
  key: z.string().min(1),
  cert: z.string().min(1),
  /** Authorities; senders must show a certificate of one of them. Without it anybody may send. */
  clients: z.string().min(1).optional(),
})

/** What a collector on its own and one inside a server have in common. */
const reception = {
  /** Bytes of segments that may wait; beyond it the oldest are given up. */
  quotaBytes: z
    .number()
    .int()
    .min(16 * megabyte)
    .default(20 * 1024 * megabyte),
  /** Bytes that may wait in memory when the disk is slow or full. */
  memoryBytes: z
    .number()
    .int()
    .min(32 * megabyte)
    .default(256 * megabyte),
  listen: z
    .strictObject({
      /** One address, or empty for all of them, IPv6 and IPv4. */
      address: z
        .union([z.ipv4(), z.ipv6(), z.literal('')], {
          error: 'must be an IPv4 or IPv6 address of this host, or empty for all of them',
        })
        .default(''),
      netflow: port.default(2055),
      ipfix: port.default(4739),
      ipfix_tcp: port.default(4739),
      sflow: port.default(6343),
      syslog_udp: port.default(514),
      syslog_tcp: port.default(514),
      traps: port.default(162),
      ipfix_tls: port.default(false),
      syslog_tls: port.default(false),
      tls: streamTls.optional(),
      /** Receive buffer to ask for; the kernel grants at most net.core.rmem_max. */
      bufferBytes: z
        .number()
        .int()
        .min(65_536)
        .default(32 * megabyte),
      /** Bytes of one syslog message over TCP; a longer one is cut. */
      maxMessageBytes: z.number().int().min(1024).max(megabyte).default(65_536),
      maxConnections: z.number().int().min(1).default(1024),
    })
    .refine(
      ({ tls, ipfix_tls, syslog_tls }) =>
        tls !== undefined || (ipfix_tls === false && syslog_tls === false),
      { path: ['tls'], error: 'must name key and cert, because a port for TLS is set' },
    )
    .prefault({}),
}

export const collectorSettings = z.strictObject({
  /** What people call it: `site-berlin`. */
  name: z
    .string()
    .regex(/^[\w.-]{1,64}$/, 'must be letters, digits, dot, dash and underscore, at most 64'),
  /** Where segments wait for delivery; also holds the collector's identity and the flow templates. */
  spool: z.string().min(1),
  ...reception,
  /** Every server must have every segment before it is removed here. */
  servers: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[\w.-]{1,64}$/),
        url: z.url({ protocol: /^https$/, error: 'must look like https://server:8450' }),
      }),
    )
    .min(1)
    .max(16)
    .refine(
      servers => new Set(servers.map(({ name }) => name)).size === servers.length,
      'two servers have the same name',
    ),
  /** Learn from the servers which others there are, and deliver to these too. */
  followPair: z.boolean().default(true),
})

export type CollectorSettings = z.output<typeof collectorSettings>

/** The collector inside a server; its name, its spool and whom it delivers to follow from the server. */
export const ownCollectorSettings = z.strictObject({
  ...reception,
  /** What a standby heard and keeps for a takeover. */
  ring: z
    .strictObject({
      /** Longer than it takes to notice that the active is gone, and to take over. */
      seconds: z.number().int().min(5).max(3600).default(90),
      bytes: z
        .number()
        .int()
        .min(megabyte)
        .default(256 * megabyte),
    })
    .prefault({}),
})

export type OwnCollectorSettings = z.output<typeof ownCollectorSettings>

/** What makes of a collector one inside a server of a pair. */
export interface PairConfig {
  /** Which of the servers it is inside of. */
  own: string
  /** The other server is gone for good if it was silent for so long and this one is still active. */
  goneAfterMs: number
  ring: { ms: number; bytes: number }
  /** Where the flow templates are, on the active and, as a copy, on the standby. */
  templates: string
}
