/**
 * The API's contract: every operation with its schemas. Shared with the console, so it imports
 * nothing but zod and the telemetry tables.
 */
import type { z } from 'zod'
import { deviceEndpoints } from './devices.ts'
import type { Endpoint } from './endpoint.ts'
import { exporterEndpoints } from './exporters.ts'
import { interfaceEndpoints } from './interfaces.ts'
import { logEndpoints } from './logs.ts'
import { nameEndpoints } from './names.ts'
import { noticeEndpoints } from './notices.ts'
import { pairEndpoints } from './pair.ts'
import { sessionEndpoints } from './session.ts'
import { setupEndpoints } from './setup.ts'
import { trafficEndpoints } from './traffic.ts'
import { watchEndpoints } from './watch.ts'

export const basePath = '/api/v1'

export const endpoints = {
  ...sessionEndpoints,
  ...pairEndpoints,
  ...setupEndpoints,
  ...trafficEndpoints,
  ...exporterEndpoints,
  ...nameEndpoints,
  ...interfaceEndpoints,
  ...logEndpoints,
  ...deviceEndpoints,
  ...watchEndpoints,
  ...noticeEndpoints,
} satisfies Record<string, Endpoint>

export type Endpoints = typeof endpoints
export type EndpointName = keyof Endpoints

type Part<E, K extends string> =
  E extends Record<K, infer S extends z.ZodType> ? z.input<S> : undefined

/** What a caller passes, by endpoint. */
export interface Call<E extends Endpoint> {
  params: Part<E, 'params'>
  query: Part<E, 'query'>
  body: Part<E, 'body'>
}
export type Answer<E extends Endpoint> = z.output<E['response']>
