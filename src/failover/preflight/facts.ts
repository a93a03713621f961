/** What the judgement of the prerequisites is made of: gathered on each server, sent over the link. */
import { z } from 'zod'

const text = z.string().max(300)
const texts = z.array(text).max(300)

const portFacts = z.object({
  name: text,
  port: z.number(),
  state: z.enum(['free', 'ours', 'taken']),
})

/** What a server says of itself and of what it sees. Undefined or null: it could not find out. */
export const serverFacts = z.object({
  server: text,
  version: text,
  console: z.object({ port: z.number(), protocol: z.enum(['http', 'https']) }),
  linkPort: z.number(),
  /** Under which the other reaches it: a name or an address. */
  advertise: text,
  hostname: text,
  /** DNS domain, null if it has none. */
  domain: text.nullable(),
  timeZone: text,
  /** Minutes east of UTC, now. */
  utcOffsetMinutes: z.number(),
  cores: z.number(),
  memoryBytes: z.number(),
  /** Of the data folder. */
  disk: z.object({ totalBytes: z.number(), freeBytes: z.number() }).nullable(),
  fileDescriptors: z.number().nullable(),
  /** The largest that a socket may ask for: net.core.rmem_max. */
  receiveBufferBytes: z.number().nullable(),
  git: text.nullable(),
  root: z.boolean(),
  /** CAP_NET_ADMIN: may set addresses. */
  netAdmin: z.boolean(),
  /** Null: the program `ip` is missing. */
  addresses: z
    .array(
      z.object({
        address: text,
        prefix: z.number(),
        interface: text,
        loopback: z.boolean(),
        /** From a lease, so it may change; null if that could not be seen. */
        dynamic: z.boolean().nullable(),
      }),
    )
    .max(300),
  /** Programs that the connection type needs. */
  tools: z.array(z.object({ program: text, package: text, present: z.boolean() })).max(20),
  /** Its own ports; `ours`: this server has it open already. */
  ports: z.array(portFacts).max(20),
  /** Ports for devices, of the collector inside; older servers do not say. */
  reception: z.array(portFacts).max(20).default([]),
  /** The console's certificate, null without TLS. */
  certificate: z.object({ hosts: texts, expires: z.number(), speaksFor: texts }).nullable(),
  /** Names, and the addresses that this machine finds for them. */
  lookups: z.array(z.object({ asked: text, found: texts })).max(50),
  /** Addresses, and the names that it finds for them. */
  reverse: z.array(z.object({ asked: text, found: texts })).max(50),
  database: z
    .object({
      hosts: texts,
      /** Of those hosts. */
      addresses: texts,
      /** Which database it is: system identifier and name. */
      identity: text.nullable(),
      roundTripMs: z.number().nullable(),
      /** This machine's clock less the database's, and how exact that is. */
      clockAheadMs: z.number().nullable(),
      clockUncertaintyMs: z.number().nullable(),
      readOnly: z.boolean().nullable(),
      error: text.nullable(),
    })
    .nullable(),
  /** Who serves the folder, null if it is on a disk of this machine. */
  folderHost: text.nullable(),
  /** What this server found of the shared folder itself. */
  folder: z
    .array(
      z.object({
        id: text,
        title: text,
        result: z.enum(['pass', 'warning', 'failure', 'skipped']),
        text: z.string().max(2000),
        whatToDo: z.string().max(2000).nullable(),
      }),
    )
    .max(20),
  /** Whether anybody answers at the virtual addresses; null: could not be asked. */
  probes: z.array(z.object({ address: text, answers: z.boolean().nullable() })).max(20),
})
export type ServerFacts = z.output<typeof serverFacts>

/** Of the connection between the two, as the one that asks measured it. */
export interface LinkFacts {
  /** Milliseconds of each round trip. */
  roundTripsMs: readonly number[]
  bitsPerSecond: number | null
  /** The other's clock less this one's, and how exact that is. */
  clockAheadMs: number
  clockUncertaintyMs: number
}

/** How the network is to find the active one, as far as the checks look at it. */
export type PlannedConnection =
  | { type: 'none' }
  | { type: 'virtual-ip'; addresses: readonly { address: string; prefix: number }[] }
  | { type: 'virtual-name'; name: string }

export interface Facts {
  own: ServerFacts
  /** Undefined: there is none yet, or it does not answer. */
  other: ServerFacts | undefined
  /** Why there are no facts of the other. */
  otherError: string | undefined
  link: LinkFacts | undefined
  connection: PlannedConnection
  sharedFolder: string | null
  now: number
}
