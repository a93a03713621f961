/** Errors as answers: the one place where what went wrong becomes a code and a sentence. */
import type { Socket } from 'node:net'
import { Conflict, DatabaseAway, InvalidCursor, Overloaded, TermOver } from '../lib/errors.ts'
import { ApiError } from './handler.ts'

/** What a caller is told; undefined for a defect, of which only the log says more. */
export function answerTo(error: unknown): ApiError | undefined {
  if (error instanceof ApiError) return error
  if (error instanceof InvalidCursor) {
    return new ApiError('bad-request', 'cursor: not one that an answer gave as `next`')
  }
  if (error instanceof TermOver) return new ApiError('not-active', error.message)
  if (error instanceof Conflict) return new ApiError('conflict', conflictSentence(error))
  if (error instanceof Overloaded) {
    return new ApiError('unavailable', `${error.message}; try again in a moment`)
  }
  if (error instanceof DatabaseAway) {
    return new ApiError(
      'unavailable',
      error.outcome === 'unknown'
        ? 'the database does not answer, and the change may have been made: look before you repeat it'
        : 'the database does not answer at present; try again in a moment',
    )
  }
  return answerToFramework(error as { code?: string; statusCode?: number; message: string })
}

const frameworkSentences: Record<string, string> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'send the body as JSON, with `content-type: application/json`',
  FST_ERR_CTP_BODY_TOO_LARGE: 'the body is larger than the 1 MiB that is accepted',
  FST_ERR_BAD_URL: 'the path is not correctly encoded',
}

function answerToFramework(error: { code?: string; statusCode?: number; message: string }) {
  const { code = '', statusCode = 500, message } = error
  if (statusCode >= 500) return undefined
  return new ApiError('bad-request', frameworkSentences[code] ?? message)
}

/** By the schema's constraints, which the database names in words of its own. */
const conflictSentences: Record<string, string> = {
  devices_name_key: 'a device of this name exists already',
  credentials_name_key: 'a credential of this name exists already',
  snmp_accesses_name_key: 'an SNMP access of this name exists already',
  tokens_name_key: 'a token of this name exists already',
}

function conflictSentence({ constraint, message }: Conflict): string {
  if (constraint === 'devices_credential_id_fkey') {
    return message.includes('still referenced')
      ? 'a device still uses this credential'
      : 'credentialId: there is no such credential'
  }
  return conflictSentences[constraint] ?? message
}

/** For what the parser of HTTP itself refuses: there is no request to answer, only a socket. */
export function answerNotHttp(socket: Socket, error: Error & { code?: string }): void {
  const overflow = error.code === 'HPE_HEADER_OVERFLOW'
  const message = overflow ? 'the head of the request is too large' : 'this is not correct HTTP'
  const body = JSON.stringify({ error: { code: 'bad-request', message } })
  if (socket.writable) {
    socket.write(
      `HTTP/1.1 ${overflow ? '431 Request Header Fields Too Large' : '400 Bad Request'}\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
        `Connection: close\r\n\r\n${body}`,
    )
  }
  socket.destroySoon()
}
