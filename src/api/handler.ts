import type { z } from 'zod'
import type { Endpoint, ErrorCode, Role } from './contract/endpoint.ts'
import type { Answer, EndpointName, Endpoints } from './contract/index.ts'

/** Who calls. */
export interface Caller {
  name: string
  role: Role
  /** `local`: a program on a server's machine, by its control socket. */
  via: 'session' | 'token' | 'local'
  mustChangePassword: boolean
  /** When the session ends; null for a token without an end. */
  expires: Date | null
  /** The secret of the session, to end it. */
  session?: string
}

type Parsed<E, K extends string> =
  E extends Record<K, infer S extends z.ZodType> ? z.output<S> : undefined

export interface HandlerCall<E extends Endpoint> {
  params: Parsed<E, 'params'>
  query: Parsed<E, 'query'>
  body: Parsed<E, 'body'>
  /** Undefined only where the endpoint's role is `anyone` and nobody is logged in. */
  caller: E['role'] extends 'anyone' ? Caller | undefined : Caller
  /** Aborted when the caller goes away or the deadline passes. */
  signal: AbortSignal
  /** Sets or clears the session cookie of the answer. */
  setSession(session: { secret: string; expires: Date } | undefined): void
  /** Address of the caller, for the limits on log-in. */
  address: string
}

export type Handler<E extends Endpoint> = (
  call: HandlerCall<E>,
) => E extends { stream: true } ? AsyncIterable<Answer<E>> : Promise<Answer<E>>

export type Handlers<N extends EndpointName = EndpointName> = {
  [K in N]: Handler<Endpoints[K]>
}

/** An answer that is not a success; anything else thrown is `internal`. */
export class ApiError extends Error {
  override name = 'ApiError'
  readonly code: ErrorCode
  constructor(code: ErrorCode, message: string) {
    super(message)
    this.code = code
  }
}
