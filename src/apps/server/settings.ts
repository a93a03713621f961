import { z } from 'zod'
import { ownCollectorSettings } from '../../collect/settings.ts'
import { flowTable } from '../../telemetry/flow.ts'
import { type RollupStep, rollupSteps } from '../../telemetry/rollups.ts'
import { syslogTable } from '../../telemetry/syslog.ts'
import { trapTable } from '../../telemetry/trap.ts'

const port = z.number().int().min(0).max(65_535)
const file = z.string().min(1)
const days = z.number().int().positive()
const addresses = z.number().int().min(1).max(1000)
/** A setting for each step of the sums. */
function ofEachStep(setting: z.ZodNumber, usual: 'keepDays' | 'mostAddresses') {
  const usualOf = (step: RollupStep) => rollupSteps.find(one => one.step === step)![usual]
  return {
    traffic1m: setting.default(usualOf(60)),
    traffic5m: setting.default(usualOf(300)),
    traffic1h: setting.default(usualOf(3600)),
  }
}

/** The settings file of `keepwatch server`. Paths are relative to the file. */
export const serverSettings = z.strictObject({
  name: z
    .string()
    .regex(
      /^[a-z0-9][a-z0-9-]{0,15}$/,
      'must be lower-case letters, digits and hyphens, at most 16',
    ),
  /** How it was installed; decides nothing but the words in the console. */
  installed: z.enum(['primary', 'secondary']),
  dataDir: file,
  console: z.strictObject({
    host: z.string().default('127.0.0.1'),
    port: port.default(443),
    /** How browsers and programs reach it; by default made of host and port. */
    url: z.url().optional(),
    /** PEM files; without them it serves plain HTTP, and only on a loopback address. */
    tls: z.strictObject({ key: file, cert: file }).optional(),
  }),
  /** Where collectors and the other server reach this one; always mutual TLS. */
  link: z.strictObject({
    host: z.string().default('0.0.0.0'),
    port: port.default(8450),
    /** The name or address that the others connect to; it is in the certificate. */
    advertise: z.string().min(1),
    /** Folder with `<name>.key`, `<name>.crt` and `ca.crt`. */
    identity: file,
  }),
  /** One that both servers share, or one of this server's own: exactly one of the two. */
  database: z
    .strictObject({
      url: z
        .string()
        .regex(/^postgres(ql)?:\/\//, 'must look like postgres://user:password@host/name')
        .optional(),
      /** In the data folder, on the loopback address; the other server's follows it, or the other way round. */
      own: z
        .strictObject({
          port: port.min(1).default(5433),
          /** At which the other server's is reached here, by way of the link. */
          otherPort: port.min(1).default(5434),
        })
        .optional(),
    })
    .refine(
      ({ own, url }) => (own === undefined) !== (url === undefined),
      'must have either url, of a database that both servers share, or own: {}, for one of its own',
    ),
  /** 32 bytes in base64; the same on both servers. Secrets of devices are encrypted under it. */
  keyFile: file,
  failover: z
    .strictObject({
      heartbeatMs: z.number().int().positive().default(1000),
      leaseMs: z.number().int().positive().default(10_000),
      timeoutMs: z.number().int().positive().default(60_000),
      /** After so many takeovers within that time nobody takes over any more until a person resumes. */
      takeovers: z
        .strictObject({
          most: z.number().int().min(2).max(100).default(6),
          withinMs: z.number().int().min(10_000).default(600_000),
        })
        .prefault({}),
      /** On which interface a virtual address goes; by default the one of its network. */
      interface: z.string().min(1).max(15).optional(),
      /** A command that is told of each taking and dropping of the address, for clouds. */
      hook: z
        .strictObject({
          /** Program and arguments; relative paths start beside this file. */
          command: z.array(z.string().min(1)).min(1),
          deadlineMs: z.number().int().min(100).max(60_000).default(5000),
        })
        .optional(),
    })
    .prefault({}),
  /** What the first active of a new deployment creates. */
  first: z
    .strictObject({
      /** Holds the password of the user `admin`; removed once a person has chosen another. */
      passwordFile: file,
      /** Holds the secret of an API token with the role administrator. */
      tokenFile: file,
    })
    .optional(),
  /** The server's own collector: what devices send to this machine, or to the pair's address. */
  collect: ownCollectorSettings.optional(),
  /** Days that telemetry is kept. */
  keepDays: z
    .strictObject({
      flow: days.default(flowTable.keepDays),
      syslog: days.default(syslogTable.keepDays),
      trap: days.default(trapTable.keepDays),
      /** Traffic summed by the minute, with the largest addresses alone; and so on. */
      ...ofEachStep(days, 'keepDays'),
    })
    .prefault({}),
  /**
   * Addresses that are kept of each pair of interfaces in each minute, and so on: those with the most
   * traffic.
   */
  topAddresses: z.strictObject(ofEachStep(addresses, 'mostAddresses')).prefault({}),
  /** Databases in MaxMind's format; paths are relative to this file. */
  geo: z
    .strictObject({
      /** Of autonomous systems, for flows whose exporter does not say them. */
      asn: file.optional(),
      /** Of countries, instead of the one that comes with the program; false: none. */
      country: z.union([file, z.literal(false)]).optional(),
    })
    .prefault({}),
  log: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
})

export type ServerSettings = z.output<typeof serverSettings>
