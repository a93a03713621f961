/**
 * Names that questions look up in the engine: of networks by address, of applications by protocol
 * and port. Each is a small table and a dictionary over it, filled anew when the state changes; what
 * exporters say themselves is a dictionary over that telemetry.
 */

import { mapped } from '../../telemetry/address.ts'
import { namedThing, nameTable } from '../../telemetry/name.ts'
import { serviceNames } from '../../telemetry/services.ts'
import { lookups, notNamed } from '../../telemetry/traffic-dimensions.ts'
import type { Client } from './client.ts'
import type { Present } from './present.ts'

export interface Names {
  /** `prefix` as `10.0.0.0/8`; an empty site is none. */
  networks: readonly { prefix: string; name: string; site: string }[]
  interfaces: readonly { exporter: string; index: number; name: string }[]
  /** Over those that are well known. */
  applications: readonly { protocol: number; port: number; name: string }[]
}

export const geoLists = ['systems', 'countries'] as const
export type GeoList = (typeof geoLists)[number]

/** What is known of public addresses: of autonomous systems, or of countries. */
export interface Geo {
  list: GeoList
  /** Of the file that it was read from, whatever tells it from another. */
  version: string
  networks: readonly { prefix: string; asn: number; organisation: string; country: string }[]
}

export interface Lookups {
  prepare(present: Present): Promise<void>
  fill(names: Names): Promise<void>
  fillGeo(geo: Geo): Promise<void>
  /** Takes what exporters have said since. */
  reloadAnnounced(): Promise<void>
  /** Of what `fillGeo` was given last, also before a restart. */
  geoVersion(list: GeoList): Promise<string | undefined>
}

/** Protocols under whose ports services are well known. */
const transports = [6, 17]
const rowsAtOnce = 50_000
/** What was said last, an interface with its description: `Gi0/7 (to Berlin)`. */
const announcedSql = `SELECT exporter, what, id,
  argMax(if(what = ${namedThing.interface} AND description NOT IN ('', name),
    concat(name, ' (', description, ')'), name), time) AS name
FROM keepwatch.${nameTable.kind} GROUP BY exporter, what, id`

interface Dictionary {
  lookup: string
  columns: string
  key: string
  layout: string
  /** What it is filled from, if not from a table of its own. */
  over?: string
}

const byPrefix = { key: 'prefix', layout: 'IP_TRIE' }
const byId = { key: 'id', layout: 'HASHED', columns: 'id UInt64, name String' }
const dictionaries: readonly Dictionary[] = [
  { ...byPrefix, lookup: lookups.networks, columns: 'prefix String, name String, site String' },
  { ...byPrefix, lookup: lookups.systems, columns: 'prefix String, asn UInt32' },
  { ...byPrefix, lookup: lookups.countries, columns: 'prefix String, country String' },
  { ...byId, lookup: lookups.systemNames },
  { ...byId, lookup: lookups.applications },
  {
    ...{ lookup: lookups.interfaces, key: 'exporter, if_index', layout: 'COMPLEX_KEY_HASHED' },
    columns: 'exporter IPv6, if_index UInt32, name String',
  },
  {
    ...{ lookup: lookups.announced, key: 'exporter, what, id', layout: 'COMPLEX_KEY_HASHED' },
    ...{ columns: 'exporter IPv6, what UInt8, id UInt32, name String', over: announcedSql },
  },
]

export function createLookups(deps: { client: Client }): Lookups {
  const { client } = deps

  async function make({ lookup, columns, key, layout, over }: Dictionary) {
    const source = `${lookup}_source`
    if (over === undefined) {
      await client.command(
        `CREATE TABLE IF NOT EXISTS ${source} (${columns}) ENGINE = MergeTree ORDER BY tuple()`,
      )
    }
    const from =
      over === undefined
        ? `DB '${source.split('.')[0]}' TABLE '${nameOf(source)}'`
        : `QUERY '${over.replaceAll("'", "\\'")}'`
    await client.command(
      `CREATE DICTIONARY IF NOT EXISTS ${lookup} (${columns}) PRIMARY KEY ${key}
       SOURCE(CLICKHOUSE(${from})) LAYOUT(${layout}) LIFETIME(0)`,
    )
  }

  async function refill(lookup: string, rows: readonly Record<string, unknown>[]) {
    await client.command(`TRUNCATE TABLE ${lookup}_source`)
    for (let from = 0; from < rows.length; from += rowsAtOnce) {
      await client.insertRows(`${lookup}_source`, rows.slice(from, from + rowsAtOnce))
    }
    await client.command(`SYSTEM RELOAD DICTIONARY ${lookup}`)
  }

  return {
    async prepare({ tables }) {
      if (!tables.has('geo_versions')) {
        await client.command(
          'CREATE TABLE IF NOT EXISTS geo_versions (list String, version String) ENGINE = MergeTree ORDER BY list',
        )
      }
      const missing = dictionaries.filter(({ lookup }) => !tables.has(nameOf(lookup)))
      await Promise.all(missing.map(make))
    },

    async fillGeo({ list, version, networks }) {
      // Until all of it is there, it is of no version.
      await client.command(`ALTER TABLE geo_versions DELETE WHERE list = '${list}'
        SETTINGS mutations_sync = 1`)
      if (list === 'countries') {
        await refill(
          lookups.countries,
          networks.map(({ prefix, country }) => ({ prefix, country })),
        )
      } else {
        const names = new Map(networks.map(({ asn, organisation }) => [asn, organisation]))
        await refill(
          lookups.systems,
          networks.map(({ prefix, asn }) => ({ prefix, asn })),
        )
        await refill(
          lookups.systemNames,
          [...names].map(([id, name]) => ({ id, name: name || notNamed })),
        )
      }
      await client.insertRows('geo_versions', [{ list, version }])
    },

    reloadAnnounced: () => client.command(`SYSTEM RELOAD DICTIONARY ${lookups.announced}`),

    async geoVersion(list) {
      const { rows } = await client.query<{ version: string }>(
        'SELECT version FROM geo_versions WHERE list = {list:String}',
        { list },
      )
      return rows[0]?.version
    },

    async fill({ networks, applications, interfaces }) {
      const byId = new Map<number, string>()
      for (const protocol of transports) {
        for (const [port, name] of Object.entries(serviceNames)) {
          byId.set(protocol * 65_536 + Number(port), name)
        }
      }
      for (const { protocol, port, name } of applications) {
        byId.set(protocol * 65_536 + port, name)
      }
      await refill(
        lookups.interfaces,
        interfaces.map(({ exporter, index, name }) => ({
          exporter: mapped(exporter),
          if_index: index,
          name,
        })),
      )
      await refill(
        lookups.networks,
        networks.map(({ site, ...network }) => ({ ...network, site: site || notNamed })),
      )
      await refill(
        lookups.applications,
        [...byId].map(([id, name]) => ({ id, name })),
      )
    },
  }
}

/** Without the database. */
function nameOf(table: string): string {
  return table.slice(table.indexOf('.') + 1)
}
