/** What the picture of the pair shows, and where its parts lie, in its own units. Pure. */
import type { PairState } from '../api/connection.ts'
import type { AnswerOf } from '../api/hooks.ts'

export type Collector = AnswerOf<'listCollectors'>['collectors'][number]
export type Server = PairState['servers'][number]

export interface SharedFolder {
  /** Null: none is set. */
  path: string | null
  /** Null: it can be used, as far as is known. */
  fault: string | null
}

export interface Place {
  x: number
  y: number
}

export interface Layout {
  narrow: boolean
  width: number
  height: number
  /** Top left corners, the first server first. */
  servers: [Place, Place]
  server: { width: number; height: number }
  /** Centres. */
  database: Place
  folder: Place
  address: Place
  addressWidth: number
  /** Top left corners of those that are drawn. */
  collectors: Place[]
  collector: { width: number; height: number }
}

export const folderBox = { width: 148, height: 48 }
export const addressBox = 44
const drawnWide = 4
const drawnNarrow = 6

/** @param collectors how many there are */
export function layoutOf(narrow: boolean, collectors: number): Layout {
  return narrow
    ? stacked(Math.min(collectors, drawnNarrow))
    : spread(Math.min(collectors, drawnWide))
}

function spread(collectors: number): Layout {
  const width = 960
  const slot = width / Math.max(collectors, 1)
  const collector = { width: 208, height: 66 }
  const top = 380
  return {
    narrow: false,
    width,
    height: collectors === 0 ? 326 : top + collector.height + 20,
    servers: [
      { x: 20, y: 104 },
      { x: 668, y: 104 },
    ],
    server: { width: 272, height: 116 },
    database: { x: 480, y: 188 },
    folder: { x: 480, y: 288 },
    address: { x: 480, y: 34 },
    addressWidth: 300,
    collectors: Array.from({ length: collectors }, (_, index) => ({
      x: slot * (index + 0.5) - collector.width / 2,
      y: top,
    })),
    collector,
  }
}

function stacked(collectors: number): Layout {
  const server = { width: 336, height: 100 }
  const collector = { width: 336, height: 58 }
  const top = 424
  return {
    narrow: true,
    width: 360,
    height: collectors === 0 ? 412 : top + collectors * (collector.height + 8) + 14,
    servers: [
      { x: 12, y: 74 },
      { x: 12, y: 304 },
    ],
    server,
    database: { x: 96, y: 238 },
    folder: { x: 266, y: 239 },
    address: { x: 180, y: 30 },
    addressWidth: 336,
    collectors: Array.from({ length: collectors }, (_, index) => ({
      x: 12,
      y: top + index * (collector.height + 8),
    })),
    collector,
  }
}
