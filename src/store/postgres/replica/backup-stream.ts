/** The answer to BASE_BACKUP, message by message, as something that one can read at one's own pace. */

/** What the server sends, in this order: archives of files, then the manifest. */
export type ArchivePart =
  | { kind: 'archive'; name: string }
  | { kind: 'manifest' }
  | { kind: 'data'; bytes: Buffer }

/** The connection of `pg`, as far as a query that it carries out for us needs it. */
interface Connection {
  query(text: string): void
  stream: { pause(): void; resume(): void }
}

export interface BackupStream {
  /** For `pg.Client.query`. */
  query: object
  parts(): AsyncGenerator<ArchivePart>
  /** What was said before the first archive. */
  facts(): { start: string; timeline: number; totalBytes: number | undefined }
}

/** Messages in memory, beyond which the connection is not read. */
const maxWaiting = 64

export function createBackupStream(command: string): BackupStream {
  const waiting: ArchivePart[] = []
  const rows: (string | null)[][] = []
  let connection: Connection | undefined
  let ended = false
  let failure: Error | undefined
  let wake = () => {}

  function take(chunk: Buffer) {
    const body = chunk.subarray(1)
    switch (String.fromCharCode(chunk[0]!)) {
      case 'n':
        push({ kind: 'archive', name: body.subarray(0, body.indexOf(0)).toString('utf8') })
        return
      case 'm':
        push({ kind: 'manifest' })
        return
      case 'd':
        // The parser reuses its memory.
        push({ kind: 'data', bytes: Buffer.from(body) })
    }
  }

  function push(part: ArchivePart) {
    waiting.push(part)
    if (waiting.length >= maxWaiting) connection?.stream.pause()
    wake()
  }

  function end(error?: Error) {
    ended = true
    failure ??= error
    wake()
  }

  const query = {
    submit(to: Connection) {
      connection = to
      to.query(command)
    },
    handleRowDescription() {},
    handleDataRow({ fields }: { fields: (string | null)[] }) {
      rows.push(fields)
    },
    handleCopyData({ chunk }: { chunk: Buffer }) {
      take(chunk)
    },
    handleCommandComplete() {},
    handleEmptyQuery() {},
    handlePortalSuspended() {},
    handleError(error: Error) {
      end(error)
    },
    handleReadyForQuery() {
      end()
    },
  }

  return {
    query,
    async *parts() {
      for (;;) {
        const part = waiting.shift()
        if (part !== undefined) {
          if (waiting.length === 0) connection?.stream.resume()
          yield part
          continue
        }
        if (failure !== undefined) throw failure
        if (ended) return
        await new Promise<void>(resolve => {
          wake = resolve
        })
      }
    },
    facts() {
      const [first, ...spaces] = rows
      // Of each table space its size in kilobytes, as an estimate.
      const kilobytes = spaces.reduce((sum, fields) => sum + Number(fields[2] ?? 0), 0)
      return {
        start: first?.[0] ?? '',
        timeline: Number(first?.[1] ?? 0),
        totalBytes: kilobytes > 0 ? 1024 * kilobytes : undefined,
      }
    },
  }
}
