/** What a machine sees of the database, by a connection of its own. */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import pg from 'pg'
import type { ServerFacts } from '../../failover/preflight/facts.ts'
import { databaseTargets } from '../../lib/database-hosts.ts'

type DatabaseFacts = NonNullable<ServerFacts['database']>

const deadlineMs = 5000
const roundTrips = 5

/** Of the first host that takes writes, or else of the first that answers. @throws never */
export async function databaseFacts(url: string): Promise<DatabaseFacts> {
  const none: DatabaseFacts = {
    hosts: [],
    addresses: [],
    identity: null,
    roundTripMs: null,
    clockAheadMs: null,
    clockUncertaintyMs: null,
    readOnly: null,
    error: null,
  }
  let targets: ReturnType<typeof databaseTargets>
  try {
    targets = databaseTargets(url)
  } catch (error) {
    return { ...none, error: (error as Error).message }
  }
  const hosts = [...new Set(targets.map(({ host }) => host))]
  const addresses = [...new Set((await Promise.all(hosts.map(addressesOf))).flat())]
  const answers: Partial<DatabaseFacts>[] = []
  for (const target of targets) {
    const answer = await ask(target).catch((error): Partial<DatabaseFacts> => {
      const { message, code, errors } = error as NodeJS.ErrnoException & { errors?: Error[] }
      const said = message || errors?.map(one => one.message).join(', ') || code
      return { error: `${target.host}:${target.port}: ${said}` }
    })
    if (answer.readOnly === false) return { ...none, hosts, addresses, ...answer }
    answers.push(answer)
  }
  const error = answers.flatMap(one => one.error ?? []).join('; ') || null
  const readOnly = answers.find(one => one.readOnly === true)
  return { ...none, hosts, addresses, ...(readOnly ?? { error }) }
}

async function ask(target: pg.ClientConfig): Promise<Partial<DatabaseFacts>> {
  const client = new pg.Client({
    ...target,
    application_name: 'keepwatch-preflight',
    connectionTimeoutMillis: deadlineMs,
    query_timeout: deadlineMs,
    statement_timeout: deadlineMs,
  })
  client.on('error', () => {})
  await client.connect()
  try {
    const trips: { ms: number; aheadMs: number }[] = []
    for (let count = 0; count < roundTrips; count++) {
      const [wall, began] = [Date.now(), performance.now()]
      const { rows } = await client.query(
        'SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS clock',
      )
      const ms = performance.now() - began
      trips.push({ ms, aheadMs: wall + ms / 2 - rows[0].clock })
    }
    const best = trips.toSorted((a, b) => a.ms - b.ms)[0]!
    const { rows } = await client.query(
      `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS "readOnly",
         current_database() AS name`,
    )
    const system = await client
      .query('SELECT system_identifier::text AS id FROM pg_control_system()')
      .then(
        answer => answer.rows[0].id as string,
        // A provider may have taken that right away.
        () => undefined,
      )
    return {
      identity: system === undefined ? null : `${system}/${rows[0].name}`,
      readOnly: rows[0].readOnly,
      roundTripMs: best.ms,
      clockAheadMs: best.aheadMs,
      clockUncertaintyMs: best.ms / 2 + 1,
    }
  } finally {
    await client.end().catch(() => {})
  }
}

async function addressesOf(host: string): Promise<string[]> {
  if (isIP(host) || host.startsWith('/')) return [host]
  const found = await lookup(host, { all: true }).catch(() => [])
  return found.map(({ address }) => address)
}
