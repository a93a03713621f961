import { z } from 'zod'
import { endpoint, moment } from './endpoint.ts'

const key = z.string().min(8, 'must have at least 8 characters (RFC 3414 §11.2)').max(256)

/** With the secrets; they never come back. */
export const snmpAccess = z.discriminatedUnion('version', [
  z.strictObject({ version: z.literal('2c'), community: z.string().min(1).max(255) }),
  z
    .strictObject({
      version: z.literal('3'),
      user: z.string().min(1).max(32),
      auth: z
        .strictObject({
          protocol: z.enum(['md5', 'sha', 'sha224', 'sha256', 'sha384', 'sha512']),
          key,
        })
        .optional(),
      priv: z
        .strictObject({ protocol: z.enum(['des', 'aes', 'aes256b', 'aes256r']), key })
        .optional(),
    })
    .refine(({ auth, priv }) => priv === undefined || auth !== undefined, {
      path: ['auth'],
      error: 'must be there where there is priv',
    }),
])

const shownAccess = z.object({
  id: z.uuid(),
  name: z.string(),
  version: z.enum(['2c', '3']),
  created: moment,
})

const exporterInterfaces = z.object({
  exporter: z.string(),
  changedAt: moment,
  interfaces: z.array(
    z.object({
      /** ifIndex. */
      index: z.number().int(),
      name: z.string(),
      alias: z.string(),
      /** Bits per second, 0 if it is not said. */
      speed: z.number(),
    }),
  ),
})

/** What came of the last look at an exporter by the active. */
const polled = z.object({
  exporter: z.string(),
  at: moment,
  /** Name of the access to which it answered. */
  by: z.string().nullable(),
  interfaces: z.number().int(),
  error: z.string().nullable(),
})

export const interfaceEndpoints = {
  listInterfaces: endpoint({
    method: 'GET',
    path: '/interfaces',
    summary: 'What exporters call their interfaces, and what came of asking them',
    tag: 'traffic',
    role: 'viewer',
    write: false,
    response: z.object({ exporters: z.array(exporterInterfaces), polled: z.array(polled) }),
  }),
  listSnmpAccesses: endpoint({
    method: 'GET',
    path: '/snmp-accesses',
    summary: 'How exporters are asked by SNMP; never a secret',
    tag: 'traffic',
    role: 'operator',
    write: false,
    response: z.object({ accesses: z.array(shownAccess) }),
  }),
  createSnmpAccess: endpoint({
    method: 'POST',
    path: '/snmp-accesses',
    summary: 'Add a way to ask exporters by SNMP; those that do not answer are asked by it at once',
    tag: 'traffic',
    role: 'administrator',
    write: true,
    body: z.object({ name: z.string().trim().min(1).max(64), access: snmpAccess }),
    response: shownAccess,
  }),
  deleteSnmpAccess: endpoint({
    method: 'DELETE',
    path: '/snmp-accesses/:id',
    summary: 'Ask nobody that way any more; names that are known stay',
    tag: 'traffic',
    role: 'administrator',
    write: true,
    params: z.object({ id: z.uuid() }),
    response: z.object({}),
  }),
}

export type SnmpAccessBody = z.output<typeof snmpAccess>
