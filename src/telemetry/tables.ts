import { flowTable } from './flow.ts'
import { syslogTable } from './syslog.ts'
import type { Kind, Table } from './table.ts'
import { trapTable } from './trap.ts'

/** Every kind of telemetry with its table. */
export const tables = {
  flow: flowTable,
  syslog: syslogTable,
  trap: trapTable,
} as const satisfies Record<Kind, Table>
