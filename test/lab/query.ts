/** Asks a database from inside a host, where it listens on the loopback address only. Rows as JSON. */
import pg from 'pg'

const [url, sql, params] = process.argv.slice(2) as [string, string, string]
const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000 })
await client.connect()
const { rows } = await client.query(sql, JSON.parse(params))
await client.end()
process.stdout.write(JSON.stringify(rows))
