import { randomUUID } from 'node:crypto'
import type { Queries, Tx } from './database.ts'
import { keyFor, open, seal } from './sealed.ts'

/** How to ask SNMP agents; without its secrets. */
export interface SnmpAccessRow {
  id: string
  name: string
  version: '2c' | '3'
  created: Date
}

export interface SnmpAccesses<Access extends { version: '2c' | '3' }> {
  /** The oldest first. */
  list(): Promise<SnmpAccessRow[]>
  /** With the secrets. @throws if the key is not the one they were stored under */
  reveal(): Promise<(SnmpAccessRow & { access: Access })[]>
  /** @throws Conflict if the name is taken */
  create(tx: Tx, access: { name: string; access: Access }): Promise<SnmpAccessRow>
  remove(tx: Tx, id: string): Promise<boolean>
}

const columns = 'id, name, version, created'

/** @param config.key the deployment's key, 32 bytes */
export function createSnmpAccesses<Access extends { version: '2c' | '3' }>(
  deps: { database: Queries },
  config: { key: Buffer },
): SnmpAccesses<Access> {
  const { database } = deps
  const key = keyFor('snmp-accesses', config.key)
  return {
    list: () =>
      database.query<SnmpAccessRow>(`SELECT ${columns} FROM snmp_accesses ORDER BY created`),

    async reveal() {
      const rows = await database.query<SnmpAccessRow & { secret: Buffer }>(
        `SELECT ${columns}, secret FROM snmp_accesses ORDER BY created`,
      )
      return rows.map(({ secret, ...row }) => ({
        ...row,
        access: JSON.parse(open(key, row.id, secret, `SNMP access ${row.name}`).toString()),
      }))
    },

    async create(tx, { name, access }) {
      const id = randomUUID()
      const [created] = await tx.query<SnmpAccessRow>(
        `INSERT INTO snmp_accesses (id, name, version, secret) VALUES ($1, $2, $3, $4)
         RETURNING ${columns}`,
        [id, name, access.version, seal(key, id, Buffer.from(JSON.stringify(access)))],
      )
      return created!
    },

    async remove(tx, id) {
      const gone = await tx.query('DELETE FROM snmp_accesses WHERE id = $1 RETURNING id', [id])
      return gone.length > 0
    },
  }
}
