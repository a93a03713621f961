/**
 * What traffic can be grouped and filtered by: columns of the flow table, and names that are looked
 * up when a question is asked, so that a name given today holds for what is stored already.
 */
import { flowTable } from './flow.ts'
import { type NamedThing, namedThing } from './name.ts'
import { protocolNames } from './services.ts'
import { type ColumnType, type Dimension, dimensionsOf } from './table.ts'

export interface TrafficDimension extends Dimension {
  type: ColumnType
  /** Columns that a table must have. */
  needs: readonly string[]
  /** In the engine's SQL. */
  expression: string
  /**
   * Where it is looked up: the expression of columns from which `expression` can be worked out as well,
   * and of which there are few different values. Rows are added up by those first.
   */
  from?: Readonly<Record<string, string>>
}

/** Of what nobody has named. */
export const notNamed = 'not named'

/** Lookups in the engine; they are filled from the state. */
export const lookups = {
  /** By address: `name` and `site` of the smallest network that has it. */
  networks: 'keepwatch.network_names',
  /** By exporter and ifIndex: `name`. */
  interfaces: 'keepwatch.interface_names',
  /** By exporter, thing and id: `name`, as the exporter says it in its stream. */
  announced: 'keepwatch.announced_names',
  /** By address: `asn` of its autonomous system. */
  systems: 'keepwatch.as_of_address',
  /** By number of an autonomous system: `name`. */
  systemNames: 'keepwatch.as_names',
  /** By address: `country`, two letters. */
  countries: 'keepwatch.country_of_address',
  /** By protocol × 65536 + port: `name`. */
  applications: 'keepwatch.application_names',
} as const

function network(side: 'src' | 'dst', what: 'name' | 'site'): string {
  return `dictGetOrDefault('${lookups.networks}', '${what}', tuple(${side}_addr), '${notNamed}')`
}

/** As the exporter says, or else by the address. */
function system(side: 'src' | 'dst'): string {
  const byAddress = `dictGetOrDefault('${lookups.systems}', 'asn', tuple(${side}_addr), toUInt32(0))`
  return `if(${side}_as != 0, ${side}_as, ${byAddress})`
}

function organisation(side: 'src' | 'dst'): string {
  return `dictGetOrDefault('${lookups.systemNames}', 'name', toUInt64(${system(side)}), '${notNamed}')`
}

function country(side: 'src' | 'dst'): string {
  return `dictGetOrDefault('${lookups.countries}', 'country', tuple(${side}_addr), '${notNamed}')`
}

/** @param otherwise in the engine's SQL */
function announced(what: NamedThing, id: string, otherwise: string): string {
  return `dictGetOrDefault('${lookups.announced}', 'name', tuple(exporter, toUInt8(${what}), ${id}), ${otherwise})`
}

const protocolText = `transform(protocol, [${[6, 17, 132]}], [${[6, 17, 132]
  .map(number => `'${protocolNames[number]!.toLowerCase()}'`)
  .join(', ')}], toString(protocol))`
const applicationName = `dictGetOrDefault('${lookups.applications}', 'name', toUInt64(protocol) * 65536 + service_port, '')`

/** Where it has no name: protocol and port, which may be one that nobody has heard of. */
const service = `if(${applicationName} != '', ${applicationName}, concat(${protocolText}, '/', toString(service_port)))`
/** What the exporter has found in the packets, by its own words or as engine and selector (RFC 6759). */
const recognised = announced(
  namedThing.application,
  'application',
  `concat(toString(bitShiftRight(application, 24)), ':', toString(bitAnd(application, 16777215)))`,
)

const named: readonly TrafficDimension[] = [
  {
    ...{ name: 'application', label: 'Application', type: 'String' },
    needs: ['exporter', 'application', 'protocol', 'service_port'],
    // Whose word it is matters only where the exporter has recognised something.
    from: {
      ...{ exporter: `if(application != 0, exporter, toIPv6('::'))`, application: 'application' },
      ...{ protocol: 'protocol', service_port: 'service_port' },
    },
    expression: `if(application != 0, ${recognised}, ${service})`,
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
  ...(['in', 'out'] as const).map((way): TrafficDimension => {
    const index = `${way}_if`
    return {
      ...{
        name: `${way}.interface`,
        label: `${way === 'in' ? 'Input' : 'Output'} interface by name`,
      },
      ...{ type: 'String', needs: ['exporter', index] },
      expression: `dictGetOrDefault('${lookups.interfaces}', 'name', tuple(exporter, ${index}), ${announced(namedThing.interface, index, `concat('ifIndex ', toString(${index}))`)})`,
    }
  }),
  {
    ...{ name: 'vrf.name', label: 'VRF by name', type: 'String', needs: ['exporter', 'vrf'] },
    expression: announced(namedThing.vrf, 'vrf', 'toString(vrf)'),
  },
  ...(['src', 'dst'] as const).flatMap((side): TrafficDimension[] => {
    const label = side === 'src' ? 'Source' : 'Destination'
    return [
      {
        ...{ name: `${side}.country`, label: `${label} country`, type: 'String' },
        ...{ needs: [`${side}_addr`], expression: country(side) },
      },
      {
        ...{ name: `${side}.asn`, label: `${label} AS, by address too`, type: 'UInt32' },
        ...{ needs: [`${side}_as`, `${side}_addr`], expression: system(side) },
      },
      {
        ...{ name: `${side}.organisation`, label: `${label} organisation`, type: 'String' },
        ...{ needs: [`${side}_as`, `${side}_addr`], expression: organisation(side) },
      },
    ]
  }),
]

export const trafficDimensions: readonly TrafficDimension[] = [
  ...dimensionsOf(flowTable).map(({ dimension, name, type }) => ({
    ...dimension,
    ...{ type, needs: [name], expression: name },
  })),
  ...named,
]
