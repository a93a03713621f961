/** Names that exporters say of their own things: handed on when they are news, and once a day. */
import type { Batch } from '../telemetry/batch.ts'
import type { NamedThing, nameTable } from '../telemetry/name.ts'
import type { Exporter } from './exporters.ts'

export interface NameBounds {
  namesPerExporter: number
  /** Of all exporters. */
  namesInTotal: number
}

export interface AnnouncedNames {
  /** Files what an exporter calls a thing; false if there is no room to remember it. */
  hear(
    exporter: Exporter,
    what: NamedThing,
    id: number,
    name: string,
    description: string,
    received: number,
  ): boolean
  /** What is remembered of an exporter is dropped with it. */
  forget(exporter: Exporter): void
  readonly count: number
}

const maxText = 255
const dayMs = 86_400_000
const thingShift = 0x1_0000_0000

/** @param batch undefined: nobody wants to know */
export function createAnnouncedNames(
  batch: Batch<typeof nameTable> | undefined,
  bounds: NameBounds,
): AnnouncedNames {
  let count = 0
  return {
    get count() {
      return count
    },
    hear(exporter, what, id, name, description, received) {
      if (batch === undefined) return true
      const said = clean(name)
      if (said === '') return true
      const more = clean(description)
      const { names } = exporter
      const key = what * thingShift + id
      const told = hashOf(said, more, Math.floor(received / dayMs))
      const before = names.get(key)
      if (before === told) return true
      if (before === undefined) {
        const room = names.size < bounds.namesPerExporter && count < bounds.namesInTotal
        if (!exporter.remembered || !room) return false
        count++
      }
      names.set(key, told)
      const row = batch.claim()
      const { cells } = batch
      cells.time.values[row] = received / 1000
      cells.exporter.setV6(row, exporter.address, 0)
      cells.what.values[row] = what
      cells.id.values[row] = id
      cells.name.setText(row, said)
      cells.description.setText(row, more)
      batch.commit()
      return true
    },
    forget({ names }) {
      count -= names.size
      names.clear()
    },
  }
}

/** Fields of a fixed length end with zero bytes, and names are shown as they are. */
function clean(text: string): string {
  return text
    .replaceAll(/[\p{Cc}\ufffd]+/gu, ' ')
    .trim()
    .slice(0, maxText)
}

/** 32 bits, FNV-1a. */
function hashOf(name: string, description: string, day: number): number {
  let hash = 0x811c_9dc5 ^ day
  for (const text of [name, description]) {
    for (let at = 0; at < text.length; at++) {
      hash = Math.imul(hash ^ text.charCodeAt(at), 0x0100_0193)
    }
    hash = Math.imul(hash ^ 0xffff, 0x0100_0193)
  }
  return hash >>> 0
}
