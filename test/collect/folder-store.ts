/** A store for tests that keeps what it acknowledged: one append-only file, a line a segment. */
import { closeSync, existsSync, openSync, readFileSync, truncateSync } from 'node:fs'
import { open } from 'node:fs/promises'
import type { ReceivedSegments } from '../../src/collect/link.ts'
import type { SegmentStore } from '../../src/collect/receive.ts'
import type { Kind } from '../../src/telemetry/table.ts'

export interface StoredSegment {
  collector: string
  kind: Kind
  sequence: number
  rows: number
  native: Buffer
}

/** Every whole line of a store's file, in the order of its writing. */
export function readStore(file: string): StoredSegment[] {
  if (!existsSync(file)) return []
  const text = readFileSync(file, 'latin1')
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .slice(0, -1)
    .map(line => {
      const [collector, kind, sequence, rows, native] = line.split(' ')
      return {
        collector: collector!,
        kind: kind as Kind,
        sequence: Number(sequence),
        rows: Number(rows),
        native: Buffer.from(native!, 'base64'),
      }
    })
}

/** Opens the file, cuts off what a crash left unfinished, and appends from there. */
export function createFolderStore(file: string): SegmentStore {
  closeSync(openSync(file, 'a'))
  const text = readFileSync(file, 'latin1')
  truncateSync(file, text.lastIndexOf('\n') + 1)
  const has = new Set(
    readStore(file).map(({ collector, kind, sequence }) => `${collector} ${kind} ${sequence}`),
  )
  let turn: Promise<unknown> = Promise.resolve()

  return {
    insertSegment({ collector, kind, sequence, rows }, native) {
      const id = `${collector} ${kind} ${sequence}`
      const insert = turn.then(async (): Promise<'stored' | 'duplicate'> => {
        if (has.has(id)) return 'duplicate'
        const handle = await open(file, 'a')
        try {
          await handle.write(`${id} ${rows} ${Buffer.from(native).toString('base64')}\n`)
          await handle.sync()
        } finally {
          await handle.close()
        }
        has.add(id)
        return 'stored'
      })
      turn = insert.catch(() => {})
      return insert
    },
    async received(collector) {
      const received: ReceivedSegments = { flow: [], syslog: [], trap: [], counter: [], name: [] }
      const sequences = [...has]
        .map(id => id.split(' '))
        .filter(([owner]) => owner === collector)
        .map(([, kind, sequence]) => ({ kind: kind as Kind, sequence: Number(sequence) }))
        .sort((a, b) => a.sequence - b.sequence)
      for (const { kind, sequence } of sequences) received[kind].push([sequence, sequence])
      return received
    },
  }
}
