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
  /** Over those that are well known. */
  applications: readonly { protocol: number; port: number; name: string }[]
}

export interface Lookups {
  prepare(): Promise<void>
  fill(names: Names): Promise<void>
}

/** Protocols under whose ports services are well known. */
const transports = [6, 17]

export function createLookups(deps: { client: Client }): Lookups {
  const { client } = deps

  async function refill(lookup: string, rows: readonly Record<string, unknown>[]) {
    await client.command(`TRUNCATE TABLE ${lookup}_source`)
    if (rows.length > 0) await client.insertRows(`${lookup}_source`, rows)
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
      const applications = 'id UInt64, name String'
      await table(lookups.applications, applications)
      await dictionary(lookups.applications, 'id', applications, 'HASHED')
    },

    async fill({ networks, applications }) {
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
