/**
 * A few sessions of the in-process engine, which run one query each at a time, and a bounded queue
 * before them. What a query sets in its session is taken back before the next one runs there.
 */
import { Session } from 'chdb'
import { changesSession, mentions, quote, quoteName } from './statement.ts'

export interface Query {
  sql: string
  /** The format of the answer unless the SQL names one. */
  format: string
  /** Whether the format's pieces may be written one after the other. */
  streaming: boolean
  database: string
  settings: ReadonlyMap<string, string>
  /** Values of `{name:Type}` placeholders in ClickHouse's escaped text form. */
  params: ReadonlyMap<string, string>
  /** Ends the query in the engine, not only the wait for it. */
  signal: AbortSignal
}

/** What was read, for the answer's summary; only known of answers in one piece. */
export interface Reading {
  rows: number
  bytes: number
  seconds: number
}

export interface SessionPool {
  /** Opens the data directory. Blocks. @throws if another engine has it open */
  open(): void
  /**
   * Runs a query; the answer goes to `write` piece by piece.
   * @throws Error in ClickHouse's words: `Code: 62. DB::Exception: … (SYNTAX_ERROR)`
   */
  run(query: Query, write: (piece: Uint8Array) => Promise<void>): Promise<Reading | undefined>
  readonly running: number
  readonly queued: number
  close(): void
}

interface Slot {
  session: Session
  database: string
  settings: Set<string>
  params: Set<string>
}

/** How often an unwanted query is told to end: it may not yet have begun when it is told first. */
const killEveryMs = 200

export function createSessionPool(config: {
  path: string
  sessions: number
  /** Queries that may wait. */
  queue: number
  /** Settings of the engine: `--max_threads=2`. */
  engineArguments: readonly string[]
}): SessionPool {
  const idle: Slot[] = []
  const waiting: ((slot: Slot) => void)[] = []
  let control: Session | undefined
  let controlTail: Promise<unknown> = Promise.resolve()
  let running = 0
  let tags = 0

  const connect = () => new Session(config.path, { connectionArgs: config.engineArguments })

  function freshSlot(): Slot {
    return { session: connect(), database: 'default', settings: new Set(), params: new Set() }
  }

  function take(signal: AbortSignal): Promise<Slot> {
    if (signal.aborted) throw cancelled()
    const slot = idle.pop()
    if (slot) return Promise.resolve(slot)
    if (waiting.length >= config.queue) {
      throw new Error(
        'Code: 202. DB::Exception: Too many queries are waiting. (TOO_MANY_SIMULTANEOUS_QUERIES)',
      )
    }
    return new Promise((resolve, reject) => {
      const turn = (free: Slot) => {
        signal.removeEventListener('abort', leave)
        resolve(free)
      }
      const leave = () => {
        waiting.splice(waiting.indexOf(turn), 1)
        reject(cancelled())
      }
      signal.addEventListener('abort', leave, { once: true })
      waiting.push(turn)
    })
  }

  function giveBack(slot: Slot) {
    const next = waiting.shift()
    if (next) next(slot)
    else idle.push(slot)
  }

  function renew(slot: Slot) {
    slot.session.close()
    Object.assign(slot, freshSlot())
  }

  /** Brings the session into the state that the query asks for. */
  async function prepare(slot: Slot, query: Query, tag: string) {
    // The engine cannot forget a parameter; its own way to bind them runs one such query at a time.
    const stale = [...slot.params].filter(name => !query.params.has(name))
    if (stale.some(name => mentions(query.sql, name))) renew(slot)
    const assignments: string[] = []
    for (const name of slot.settings) {
      if (!query.settings.has(name)) assignments.push(`${name} = DEFAULT`)
    }
    slot.settings = new Set(query.settings.keys())
    for (const [name, value] of query.settings) {
      if (name !== 'log_comment') assignments.push(`${name} = ${quote(value)}`)
    }
    for (const [name, value] of query.params) {
      slot.params.add(name)
      assignments.push(`param_${name} = ${quote(value)}`)
    }
    assignments.push(`log_comment = ${quote(tag)}`)
    if (slot.database !== query.database) {
      await slot.session.queryAsync(`USE ${quoteName(query.database)}`)
      slot.database = query.database
    }
    try {
      await slot.session.queryAsync(`SET ${assignments.join(', ')}`)
    } catch (error) {
      renew(slot)
      throw error
    }
  }

  /** Tells the engine to end the query again and again until the returned function is called. */
  function killUntil(tag: string): () => void {
    const statement = `KILL QUERY WHERE Settings['log_comment'] = ${quote(tag)} ASYNC`
    const kill = () => {
      controlTail = controlTail.then(() => control?.queryAsync(statement)).catch(() => {})
    }
    kill()
    const timer = setInterval(kill, killEveryMs)
    return () => clearInterval(timer)
  }

  async function execute(
    slot: Slot,
    query: Query,
    write: (piece: Uint8Array) => Promise<void>,
  ): Promise<Reading | undefined> {
    if (query.streaming) {
      const stream = slot.session.queryStream(query.sql, { format: query.format })
      for await (const piece of stream) await write(piece.raw())
      return undefined
    }
    const result = await slot.session.queryAsync(query.sql, { format: query.format })
    await write(result.bytes())
    return { rows: result.rowsRead, bytes: result.bytesRead, seconds: result.elapsed }
  }

  return {
    get running() {
      return running
    },
    get queued() {
      return waiting.length
    },
    open() {
      control = connect()
      for (let i = 0; i < config.sessions; i++) idle.push(freshSlot())
    },
    async run(query, write) {
      const slot = await take(query.signal)
      running++
      // A caller that asks how far it is has named it.
      const tag = query.settings.get('log_comment') ?? `keepwatch-${tags++}`
      let stopKilling = () => {}
      const onAbort = () => {
        stopKilling = killUntil(tag)
      }
      try {
        await prepare(slot, query, tag)
        if (query.signal.aborted) throw cancelled()
        query.signal.addEventListener('abort', onAbort, { once: true })
        const reading = await execute(slot, query, write)
        if (changesSession(query.sql)) renew(slot)
        return reading
      } finally {
        query.signal.removeEventListener('abort', onAbort)
        stopKilling()
        // The engine lists a query that was told to end until its session does something else.
        if (query.signal.aborted) renew(slot)
        running--
        giveBack(slot)
      }
    },
    close() {
      for (const slot of idle.splice(0)) slot.session.close()
      control?.close()
      control = undefined
    },
  }
}

function cancelled(): Error {
  return new Error('Code: 394. DB::Exception: Query was cancelled. (QUERY_WAS_CANCELLED)')
}
