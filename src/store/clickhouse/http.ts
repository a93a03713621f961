/**
 * ClickHouse's HTTP interface over the in-process engine: what `@clickhouse/client` uses of it.
 * Source: ClickHouse documentation, "HTTP Interface".
 *
 * Whoever has the password may run any SQL, which reaches files of the host too; it is for the
 * program that started the engine, and never for text that a person typed.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { type Readable, Transform } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { createBrotliDecompress, createGunzip, createZstdDecompress } from 'node:zlib'
import type { Query, Reading, SessionPool } from './session-pool.ts'
import { errorCodeOf, insertFromFile, isSettingName, outputOf, statusOf } from './statement.ts'

export interface HttpConfig {
  username: string
  password: string
  /** A folder for the data of inserts on their way; its content is nobody else's. */
  incoming: string
}

/** Statements and their parameters in a body. */
const maxStatementBytes = 16 * 1024 * 1024
/** Data of one insert, uncompressed. */
const maxDataBytes = 1024 * 1024 * 1024
/** An answer that is sent in one piece. */
const maxAnswerBytes = 256 * 1024 * 1024

/** Names in the URL that are no settings of the engine. */
const notSettings = new Set([
  'add_http_cors_header',
  'buffer_size',
  'compress',
  'database',
  'decompress',
  'default_format',
  'enable_http_compression',
  'password',
  'query',
  'query_id',
  'quota_key',
  'role',
  'stacktrace',
  'user',
  'wait_end_of_query',
])

const unsupported = ['session_id', 'compress', 'decompress', 'role']

class Refusal extends Error {
  constructor(code: number, text: string, name: string) {
    super(`Code: ${code}. DB::Exception: ${text}. (${name})`)
  }
}

export function createHttp(pool: SessionPool, config: HttpConfig): Server {
  const secret = digest(`${config.username}:${config.password}`)
  let files = 0

  async function serve(request: IncomingMessage, response: ServerResponse) {
    const url = new URL(request.url ?? '/', 'http://engine')
    if (url.pathname === '/ping' || url.pathname === '/replicas_status') {
      response.end('Ok.\n')
      return
    }
    if (!timingSafeEqual(secret, digest(credentialsOf(request, url)))) {
      throw new Refusal(516, 'Authentication failed', 'AUTHENTICATION_FAILED')
    }
    if (url.pathname !== '/') throw new Refusal(36, 'There is no such path', 'BAD_ARGUMENTS')
    for (const name of unsupported) {
      if ((url.searchParams.get(name) ?? '0') !== '0') {
        throw new Refusal(48, `The embedded engine does not have ${name}`, 'NOT_IMPLEMENTED')
      }
    }

    const gone = new AbortController()
    response.once('close', () => {
      if (!response.writableFinished) gone.abort()
    })
    const query = readUrl(url, gone.signal)
    let file: string | undefined
    try {
      if (query.sql !== '' && request.method === 'POST') {
        // The engine reads such a file as it is, and knows it by its name.
        const packed = request.headers['content-encoding'] === 'zstd'
        const received = join(config.incoming, `${files++}${packed ? '.zst' : ''}`)
        file = received
        const body = packed ? request : bodyOf(request)
        if ((await receive(body, received)) > 0) insertFrom(query, received)
      } else {
        await readStatement(request, query)
      }
      if (query.sql.trim() === '') throw new Refusal(62, 'Empty query', 'SYNTAX_ERROR')
      await answer(url, query, response)
    } finally {
      if (file !== undefined) await rm(file, { force: true })
    }
  }

  async function answer(url: URL, query: WritableQuery, response: ServerResponse) {
    const { format, streaming } = outputOf(query.sql, query.format)
    if (!streaming && !query.settings.has('max_result_bytes')) {
      query.settings.set('max_result_bytes', String(maxAnswerBytes))
    }
    const tag = digest(`${Math.random()}`).toString('hex').slice(0, 16)
    response.setHeader('X-ClickHouse-Query-Id', url.searchParams.get('query_id') ?? '')
    response.setHeader('X-ClickHouse-Format', format)
    response.setHeader('X-ClickHouse-Timezone', 'UTC')
    response.setHeader(
      'Content-Type',
      format.startsWith('JSON') ? 'application/json' : 'text/plain',
    )

    let whole: Uint8Array | undefined
    let reading: Reading | undefined
    try {
      reading = await pool.run({ ...query, format, streaming }, async piece => {
        if (!streaming) {
          whole = piece
          return
        }
        if (!response.headersSent) response.setHeader('X-ClickHouse-Exception-Tag', tag)
        if (!response.write(piece)) await once(response, 'drain', { signal: query.signal })
      })
    } catch (error) {
      if (!response.headersSent) throw error
      // The status has been sent: the protocol's frame for errors inside an answer.
      const message = `${(error as Error).message}\n`
      const length = Buffer.byteLength(message)
      response.end(`\r\n__exception__\r\n${tag}\r\n${message}${length} ${tag}\r\n__exception__\r\n`)
      return
    }
    if (reading) response.setHeader('X-ClickHouse-Summary', summaryOf(reading))
    response.end(whole)
  }

  return createServer({ keepAliveTimeout: 30_000 }, (request, response) => {
    serve(request, response).catch(error => refuse(request, response, error))
  })
}

type WritableQuery = Query & { settings: Map<string, string>; params: Map<string, string> }

function readUrl(url: URL, signal: AbortSignal): WritableQuery {
  const query: WritableQuery = {
    sql: url.searchParams.get('query') ?? '',
    format: url.searchParams.get('default_format') ?? 'TabSeparated',
    streaming: false,
    database: url.searchParams.get('database') ?? 'default',
    settings: new Map(),
    params: new Map(),
    signal,
  }
  for (const [name, value] of url.searchParams) {
    if (notSettings.has(name)) continue
    assign(query, name, value)
  }
  return query
}

function assign(query: WritableQuery, name: string, value: string) {
  if (!isSettingName(name)) throw new Refusal(115, 'Unknown setting', 'UNKNOWN_SETTING')
  if (name.startsWith('param_')) query.params.set(name.slice('param_'.length), value)
  else query.settings.set(name, value)
}

/** The statement from the body, or from the parts of a form with `query` and `param_…`. */
async function readStatement(request: IncomingMessage, query: WritableQuery) {
  const body = await buffer(bodyOf(request).pipe(limit(maxStatementBytes)))
  const type = request.headers['content-type'] ?? ''
  if (!type.startsWith('multipart/form-data')) {
    query.sql = `${query.sql}${body.toString()}`
    return
  }
  const form = await new Response(body, { headers: { 'content-type': type } }).formData()
  for (const [name, value] of form) {
    if (typeof value !== 'string') continue
    if (name === 'query') query.sql = value
    else if (name.startsWith('param_')) assign(query, name, value)
  }
}

/** Turns the insert into one from the file that holds its data. */
function insertFrom(query: WritableQuery, file: string) {
  const sql = insertFromFile(query.sql, file)
  if (sql === undefined) {
    throw new Refusal(48, 'Data come only with INSERT INTO … FORMAT …', 'NOT_IMPLEMENTED')
  }
  query.sql = sql
  // As with FORMAT: columns are matched by name, rows stay in order, and blocks are those of the file.
  query.settings.set('use_structure_from_insertion_table_in_table_functions', '1')
  query.settings.set('max_threads', '1')
  query.settings.set('max_insert_threads', '1')
}

function bodyOf(request: IncomingMessage): Readable {
  const encoding = request.headers['content-encoding']
  const decompress = {
    identity: () => undefined,
    gzip: createGunzip,
    zstd: createZstdDecompress,
    br: createBrotliDecompress,
  }[encoding ?? 'identity']
  if (decompress === undefined) {
    throw new Refusal(48, `The encoding ${encoding} is not known`, 'NOT_IMPLEMENTED')
  }
  const stream = decompress()
  if (stream === undefined) return request
  request.once('error', error => stream.destroy(error))
  return request.pipe(stream)
}

/** Writes the body to a file. @returns its bytes */
async function receive(body: Readable, file: string): Promise<number> {
  const out = createWriteStream(file, { mode: 0o600, highWaterMark: 1024 * 1024 })
  await pipeline(body, limit(maxDataBytes), out)
  return out.bytesWritten
}

function limit(bytes: number): Transform {
  let sum = 0
  return new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      sum += chunk.length
      if (sum > bytes) done(new Refusal(307, 'The body is too large', 'TOO_MANY_BYTES'))
      else done(null, chunk)
    },
  })
}

function credentialsOf(request: IncomingMessage, url: URL): string {
  const basic = /^Basic (.+)$/i.exec(request.headers.authorization ?? '')?.[1]
  if (basic !== undefined) return Buffer.from(basic, 'base64').toString()
  const user = request.headers['x-clickhouse-user'] ?? url.searchParams.get('user')
  const key = request.headers['x-clickhouse-key'] ?? url.searchParams.get('password')
  return `${user}:${key}`
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function summaryOf(reading: Reading): string {
  return JSON.stringify({
    read_rows: String(reading.rows),
    read_bytes: String(reading.bytes),
    elapsed_ns: String(Math.round(reading.seconds * 1e9)),
  })
}

function refuse(request: IncomingMessage, response: ServerResponse, error: unknown) {
  const message = (error as Error).message
  const coded = message.startsWith('Code: ')
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  const code = errorCodeOf(message)
  response.statusCode = statusOf(code)
  response.setHeader('X-ClickHouse-Exception-Code', String(code))
  // A body that was not read to its end would be taken for the next request.
  if (!request.complete) response.setHeader('Connection', 'close')
  response.end(
    `${coded ? message : `Code: ${code}. DB::Exception: ${message}. (UNKNOWN_EXCEPTION)`}\n`,
  )
}
