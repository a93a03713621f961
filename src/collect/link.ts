/** What both ends of the link between collector and server agree on: HTTPS, both sides certified. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { PeerCertificate } from 'node:tls'
import { z } from 'zod'
import type { collectorState } from '../api/contract/watch.ts'
import type { Kind } from '../telemetry/table.ts'

/** Requests of the link; `:collector` is a UUID. */
export const linkPaths = {
  /** PUT: one segment. */
  segment: (collector: string, kind: string, sequence: number) =>
    `/link/v1/segments/${collector}/${kind}/${sequence}`,
  /** GET: what the server has of a collector. */
  segments: (collector: string) => `/link/v1/segments/${collector}`,
  /** POST: what a collector says of itself; answered with `collectorAnswer`. */
  collectors: '/link/v1/collectors',
  /** POST: a segment's manifest, before the segment; answered with `claimAnswer`. */
  claim: (collector: string, kind: string, sequence: number) =>
    `/link/v1/claims/${collector}/${kind}/${sequence}`,
  /** POST: the collector inside the other server is active. */
  alive: '/link/v1/claims/alive',
  /** POST, with `linkHeaders.server`: the collector of that one begins to listen; answered when this one knows. */
  hello: '/link/v1/claims/hello',
  /** GET: what a server says to its peer. */
  state: '/link/v1/state',
} as const

/** Headers of a segment; its body is zstd and travels as it lies in the spool. */
export const linkHeaders = {
  rows: 'keepwatch-rows',
  nativeBytes: 'keepwatch-native-bytes',
  sha256: 'keepwatch-sha256',
  /** Of a hello: name of the server that says it. */
  server: 'keepwatch-server',
  /** Of a claim: milliseconds since the segment's last datagram was received. */
  age: 'keepwatch-age',
  /** Of a claim: where the segment is stored, if not here because of it, see `ClaimStored`. */
  stored: 'keepwatch-stored',
} as const

/** Who the servers of the pair are, for collectors that were told of one; older servers say nothing. */
export const collectorAnswer = z.object({
  /** Name of the server that answers. */
  server: z.string().max(64).optional(),
  servers: z
    .array(z.object({ name: z.string().max(64), url: z.url({ protocol: /^https$/ }) }))
    .max(16)
    .optional(),
})
export type CollectorAnswer = z.output<typeof collectorAnswer>

/**
 * Where a segment is stored that is claimed: `later` here, when it is sent; `here` already, brought by
 * somebody else; `there`, by the sender's own server alone.
 */
export const claimStored = z.enum(['later', 'here', 'there'])
export type ClaimStored = z.output<typeof claimStored>

const places = z.array(z.number().int().min(0))

/** Places in the manifest of datagrams that are not the segment's. */
export const claimAnswer = z.object({
  /** The server that answers has taken them itself: their rows are nobody's to store. */
  taken: places,
  /** It has stored them alone: their rows are left out for this server; older ones say nothing. */
  stored: places.default([]),
})
export type ClaimAnswer = z.output<typeof claimAnswer>

const sequence = z.number().int().min(0)
const ranges = z.array(z.tuple([sequence, sequence]))

/** Segments of one collector that a server has, as inclusive ranges in rising order. */
export const receivedSegments = z.object({
  flow: ranges,
  syslog: ranges,
  trap: ranges,
  counter: ranges,
  name: ranges,
} satisfies Record<Kind, typeof ranges>)
export type ReceivedSegments = z.output<typeof receivedSegments>

/** A server before 0.3 says nothing of kinds that it has no table for, and takes none of them. */
export const receivedAnswer = receivedSegments.partial({ counter: true, name: true }).extend({
  /** Columns may come narrower than the table has them, or not at all; not so before 0.3. */
  narrow: z.boolean().default(false),
})
export type ReceivedAnswer = z.output<typeof receivedAnswer>

/** What a collector says of itself, every two seconds. */
export type CollectorState = z.output<typeof collectorState>

export type LinkRole = 'server' | 'collector'

/** What another part of the server answers on the link. */
export interface LinkRoute {
  method: 'GET' | 'PUT' | 'POST'
  /** The path begins so; the rest is the route's own to judge. */
  prefix: string
  role: LinkRole
  /** Answers the request itself. What it throws becomes an answer of 500, and is counted. */
  answer(request: IncomingMessage, response: ServerResponse, from: LinkCaller): Promise<void>
}

export interface LinkCaller {
  role: LinkRole
  /** By its certificate. */
  name: string
}

/** Whom a certificate of the private authority speaks for. */
export function certificateRole(certificate: PeerCertificate | undefined): LinkRole | undefined {
  const unit: unknown = certificate?.subject?.OU
  return unit === 'server' || unit === 'collector' ? unit : undefined
}

const newListeners: readonly string[] = ['ipfix_tcp', 'ipfix_tls', 'syslog_tls']

/** The same for a server before 0.3, which refuses a state that names what it does not know. */
export function stateForOlder(state: CollectorState): CollectorState {
  return {
    ...state,
    listeners: state.listeners.filter(({ name }) => !newListeners.includes(name)),
    kinds: state.kinds.filter(({ kind }) => kind !== 'counter' && kind !== 'name'),
  }
}
