/** What the engine has already, read once at the start: to ask for each table is slow. */
import type { Client } from './client.ts'

export interface Present {
  /** By name: the engine's own words for how it is made. Dictionaries are among them. */
  tables: ReadonlyMap<string, string>
  /** Of the tables: the codec of each column, as `codecsSql` compares it. */
  columns: ReadonlyMap<string, ReadonlyMap<string, string>>
}

export async function readPresent(client: Client): Promise<Present> {
  const [tables, columns] = await Promise.all([
    client.query<{ name: string; engine_full: string }>(
      'SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()',
      {},
    ),
    client.query<{ table: string; codecs: [string, string][] }>(
      `SELECT table, groupArray((name, compression_codec)) AS codecs FROM system.columns
       WHERE database = currentDatabase() GROUP BY table`,
      {},
    ),
  ])
  return {
    tables: new Map(tables.rows.map(({ name, engine_full }) => [name, engine_full])),
    columns: new Map(columns.rows.map(({ table, codecs }) => [table, new Map(codecs)])),
  }
}
