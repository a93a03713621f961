/** A program that is told by HTTP: a POST of JSON, signed, the same at every attempt. */
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request as plainRequest } from 'node:http'
import { request as tlsRequest } from 'node:https'
import { type Delivery, identityOf, type MayEnd } from './channel.ts'
import type { ClaimedNotice } from './outbox.ts'
import { toText } from './render.ts'

export interface WebhookSettings {
  url: string
  /** The body's HMAC-SHA256 under it goes with the request. */
  secret?: string | undefined
}

export interface WebhookConfig {
  /** For one request and its answer. */
  deadlineMs: number
}

export const defaultWebhookConfig: WebhookConfig = { deadlineMs: 15_000 }

/** The body of the request. */
export interface WebhookCall {
  /** The same at every attempt; also in the header `Idempotency-Key`. */
  id: string
  class: ClaimedNotice['class']
  subject: string
  text: string
  /** When it happened: ISO 8601, UTC. */
  at: string
  server: string
  term: number
}

export interface Webhook {
  send(settings: WebhookSettings, notice: ClaimedNotice, mayEnd: MayEnd): Promise<Delivery>
  /** Drops the request under way. */
  close(): void
}

/** Of an answer that says no, as much as helps a person. */
const answerBytes = 300

export function createWebhook(config: WebhookConfig): Webhook {
  let abandon: (() => void) | undefined

  async function send(settings: WebhookSettings, notice: ClaimedNotice, mayEnd: MayEnd) {
    const body = Buffer.from(JSON.stringify(callOf(notice)))
    const stop = new AbortController()
    abandon = () => stop.abort(new Error('it was asked to stop'))
    const timer = setTimeout(() => {
      stop.abort(new Error(`no answer within ${config.deadlineMs / 1000} s`))
    }, config.deadlineMs)
    let ended = false
    const request = (settings.url.startsWith('https:') ? tlsRequest : plainRequest)(settings.url, {
      method: 'POST',
      headers: headersOf(settings, notice, body),
      agent: false,
      signal: stop.signal,
    })
    try {
      const answered = once(request, 'response') as Promise<[IncomingMessage]>
      answered.catch(() => {})
      // Without its last byte the request is incomplete, and no server may act on it.
      await Promise.race([flushed(request, body.subarray(0, -1)), answered])
      if (!(await mayEnd())) return { done: 'withheld' } as const
      stop.signal.throwIfAborted()
      ended = true
      request.end(body.subarray(-1))
      const [response] = await answered
      return await judge(response)
    } catch (error) {
      const reason = stop.signal.aborted ? (stop.signal.reason as Error) : (error as Error)
      const failure = reason.message || (error as NodeJS.ErrnoException).code || 'it failed'
      return ended
        ? ({ done: 'doubtful', failure } as const)
        : ({ done: 'later', failure, of: 'channel' } as const)
    } finally {
      clearTimeout(timer)
      abandon = undefined
      request.on('error', () => {})
      request.destroy()
    }
  }

  return { send, close: () => abandon?.() }
}

function flushed(request: ReturnType<typeof plainRequest>, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    request.once('error', reject)
    request.write(bytes, error => (error ? reject(error) : resolve()))
  })
}

function callOf(notice: ClaimedNotice): WebhookCall {
  const { message, at, server, term } = notice.body
  return {
    ...{ id: identityOf(notice), class: notice.class },
    ...{ subject: message.subject, text: toText(message) },
    ...{ at, server, term },
  }
}

function headersOf({ secret }: WebhookSettings, notice: ClaimedNotice, body: Buffer) {
  return {
    'Content-Type': 'application/json',
    'Content-Length': String(body.length),
    'Idempotency-Key': identityOf(notice),
    'User-Agent': 'Keepwatch',
    ...(secret
      ? {
          'Keepwatch-Signature': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
        }
      : {}),
  }
}

/** Every answer but 2xx is tried again: a program that is being repaired says anything. */
async function judge(response: IncomingMessage): Promise<Delivery> {
  const { statusCode = 0 } = response
  if (statusCode >= 200 && statusCode < 300) {
    response.resume()
    return { done: 'sent' }
  }
  let said = ''
  for await (const chunk of response) {
    said += String(chunk)
    if (said.length >= answerBytes) break
  }
  const words = said.replaceAll(/\s+/g, ' ').trim().slice(0, answerBytes)
  const failure = `it answered ${statusCode}${words === '' ? '' : `: ${words}`}`
  return { done: 'later', failure, of: 'message' }
}
