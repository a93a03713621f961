import type { PlannedConnection } from '../../failover/preflight/facts.ts'

/** Programs that a connection type needs, by the Debian package that brings them. */
export function requiredTools(
  connection: PlannedConnection,
): readonly { program: string; package: string }[] {
  return connection.type === 'virtual-ip' ? [{ program: 'ip', package: 'iproute2' }] : []
}
