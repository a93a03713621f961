/**
 * What traffic can be grouped and filtered by: columns of the flow table, and names that are looked
 * up when a question is asked, so that a name given today holds for what is stored already.
 */
import { flowTable } from './flow.ts'
import { protocolNames } from './services.ts'
import { type ColumnType, type Dimension, dimensionsOf } from './table.ts'

export interface TrafficDimension extends Dimension {
  type: ColumnType
  /** Columns that a table must have. */
  needs: readonly string[]
  /** In the engine's SQL. */
  expression: string
}

/** Of what nobody has named. */
export const notNamed = 'not named'

/** Lookups in the engine; they are filled from the state. */
export const lookups = {
  /** By address: `name` and `site` of the smallest network that has it. */
  networks: 'keepwatch.network_names',
  /** By protocol × 65536 + port: `name`. */
  applications: 'keepwatch.application_names',
} as const

function network(side: 'src' | 'dst', what: 'name' | 'site'): string {
  return `dictGetOrDefault('${lookups.networks}', '${what}', tuple(${side}_addr), '${notNamed}')`
}

const protocolText = `transform(protocol, [${[6, 17, 132]}], [${[6, 17, 132]
  .map(number => `'${protocolNames[number]!.toLowerCase()}'`)
  .join(', ')}], toString(protocol))`
const applicationName = `dictGetOrDefault('${lookups.applications}', 'name', toUInt64(protocol) * 65536 + service_port, '')`

const named: readonly TrafficDimension[] = [
  {
    ...{ name: 'application', label: 'Application', type: 'String' },
    needs: ['protocol', 'service_port'],
    // Where it has no name: its service, which may be one that nobody has heard of.
    expression: `if(${applicationName} != '', ${applicationName}, concat(${protocolText}, '/', toString(service_port)))`,
  },
  {
    ...{ name: 'src.network', label: 'Source network', type: 'String' },
    ...{ needs: ['src_addr'], expression: network('src', 'name') },
  },
  {
    ...{ name: 'dst.network', label: 'Destination network', type: 'String' },
    ...{ needs: ['dst_addr'], expression: network('dst', 'name') },
  },
  {
    ...{ name: 'src.site', label: 'Source site', type: 'String' },
    ...{ needs: ['src_addr'], expression: network('src', 'site') },
  },
  {
    ...{ name: 'dst.site', label: 'Destination site', type: 'String' },
    ...{ needs: ['dst_addr'], expression: network('dst', 'site') },
  },
]

export const trafficDimensions: readonly TrafficDimension[] = [
  ...dimensionsOf(flowTable).map(({ dimension, name, type }) => ({
    ...dimension,
    ...{ type, needs: [name], expression: name },
  })),
  ...named,
]
