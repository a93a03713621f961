/**
 * Names that questions look up in the engine: of networks by address, of applications by protocol
 * and port. Each is a small table and a dictionary over it, filled anew when the state changes.
 */

import { serviceNames } from '../../telemetry/services.ts'
import { lookups, notNamed } from '../../telemetry/traffic-dimensions.ts'
import type { Client } from './client.ts'

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
  prepare(): Promise<void>
  fill(names: Names): Promise<void>
  fillGeo(geo: Geo): Promise<void>
  /** Of what `fillGeo` was given last, also before a restart. */
  geoVersion(list: GeoList): Promise<string | undefined>
}

/** Protocols under whose ports services are well known. */
const transports = [6, 17]
const rowsAtOnce = 50_000

export function createLookups(deps: { client: Client }): Lookups {
  const { client } = deps

  async function refill(lookup: string, rows: readonly Record<string, unknown>[]) {
    await client.command(`TRUNCATE TABLE ${lookup}_source`)
    for (let from = 0; from < rows.length; from += rowsAtOnce) {
      await client.insertRows(`${lookup}_source`, rows.slice(from, from + rowsAtOnce))
    }
    await client.command(`SYSTEM RELOAD DICTIONARY ${lookup}`)
  }

  return {
    async prepare() {
      const table = (lookup: string, columns: string) =>
        client.command(
          `CREATE TABLE IF NOT EXISTS ${lookup}_source (${columns}) ENGINE = MergeTree ORDER BY tuple()`,
        )
      const dictionary = (lookup: string, key: string, columns: string, layout: string) => {
        const [database, source] = `${lookup}_source`.split('.')
        return client.command(
          `CREATE DICTIONARY IF NOT EXISTS ${lookup} (${columns}) PRIMARY KEY ${key}
           SOURCE(CLICKHOUSE(DB '${database}' TABLE '${source}')) LAYOUT(${layout}) LIFETIME(0)`,
        )
      }
      const networks = 'prefix String, name String, site String'
      await table(lookups.networks, networks)
      await dictionary(lookups.networks, 'prefix', networks, 'IP_TRIE')
      await client.command(
        'CREATE TABLE IF NOT EXISTS geo_versions (list String, version String) ENGINE = MergeTree ORDER BY list',
      )
      const interfaces = 'exporter IPv6, if_index UInt32, name String'
      await table(lookups.interfaces, interfaces)
      await dictionary(lookups.interfaces, 'exporter, if_index', interfaces, 'COMPLEX_KEY_HASHED')
      const systems = 'prefix String, asn UInt32'
      await table(lookups.systems, systems)
      await dictionary(lookups.systems, 'prefix', systems, 'IP_TRIE')
      const countries = 'prefix String, country String'
      await table(lookups.countries, countries)
      await dictionary(lookups.countries, 'prefix', countries, 'IP_TRIE')
      const applications = 'id UInt64, name String'
      await table(lookups.systemNames, applications)
      await dictionary(lookups.systemNames, 'id', applications, 'HASHED')
      await table(lookups.applications, applications)
      await dictionary(lookups.applications, 'id', applications, 'HASHED')
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

/** As an IPv6 column takes it. */
function mapped(address: string): string {
  return address.includes(':') ? address : `::ffff:${address}`
}
