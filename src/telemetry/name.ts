import { defineTable } from './table.ts'

/** What a name is of, as it stands in the column `what`. */
export const namedThing = { interface: 1, application: 2, vrf: 3 } as const
export type NamedThing = (typeof namedThing)[keyof typeof namedThing]

/** Names that exporters say in their own stream, in options and sFlow counter samples. */
export const nameTable = defineTable({
  kind: 'name',
  doc: 'What exporters call their interfaces, applications and VRFs: said in the flow stream itself. The newest row of a thing holds.',
  orderBy: ['exporter', 'what', 'id'],
  partitionBy: 'toYYYYMM(time)',
  receipt: { column: 'time' },
  keepDays: 400,
  // biome-ignore format: one line a column, to be read as a table
  columns: [
    { name: 'time', type: 'DateTime', codec: 'ZSTD(1)', doc: 'When it was received; said again each day while the exporter says it.' },
    { name: 'exporter', type: 'IPv6', steady: true, codec: 'ZSTD(1)', doc: 'The exporter, as the flow table has it.' },
    { name: 'what', type: 'UInt8', codec: 'ZSTD(1)', doc: '1 interface, 2 application, 3 VRF.' },
    { name: 'id', type: 'UInt32', codec: 'ZSTD(1)', doc: 'ifIndex, applicationId (engine × 2^24 + selector) or VRF id, as the flow table has it.' },
    { name: 'name', type: 'String', codec: 'ZSTD(1)', doc: 'interfaceName (IE 82), applicationName (96), VRFname (236) or sFlow’s port name.' },
    { name: 'description', type: 'String', codec: 'ZSTD(1)', doc: 'interfaceDescription (83) or applicationDescription (94), empty if not said.' },
  ],
})
