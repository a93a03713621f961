import { counterTable } from './counter.ts'
import { flowTable } from './flow.ts'
import { nameTable } from './name.ts'
import { syslogTable } from './syslog.ts'
import type { Kind, Table } from './table.ts'
import { trapTable } from './trap.ts'

/** Every kind of telemetry with its table. */
export const tables = {
  flow: flowTable,
  syslog: syslogTable,
  trap: trapTable,
  counter: counterTable,
  name: nameTable,
} as const satisfies Record<Kind, Table>
