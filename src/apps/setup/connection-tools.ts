import type { Connection } from '../../failover/address/address.ts'
import { requiredTools } from '../../failover/address/kernel.ts'
import type { PlannedConnection } from '../../failover/preflight/facts.ts'

/** Programs that a connection type needs, by the Debian package that brings them. */
export function toolsFor(
  connection: PlannedConnection,
): readonly { program: string; package: string }[] {
  // What is planned has all of a connection but its secret.
  return requiredTools(connection as Connection).map(({ name, package: from }) => ({
    program: name,
    package: from,
  }))
}
