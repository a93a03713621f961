import type { severities } from '../../../src/api/contract/logs.ts'

/** RFC 5424 §6.2.1; the type of the contract checks the order. */
export const severityNames: typeof severities extends readonly (infer S)[] ? readonly S[] : never =
  ['emergency', 'alert', 'critical', 'error', 'warning', 'notice', 'informational', 'debug']

const facilityNames = [
  'kern',
  'user',
  'mail',
  'daemon',
  'auth',
  'syslog',
  'lpr',
  'news',
  'uucp',
  'cron',
  'authpriv',
  'ftp',
  'ntp',
  'audit',
  'alert',
  'clock',
  'local0',
  'local1',
  'local2',
  'local3',
  'local4',
  'local5',
  'local6',
  'local7',
]

export function severityName(severity: number | null): string {
  return severity === null ? 'none' : (severityNames[severity] ?? String(severity))
}

export function facilityName(facility: number | null): string {
  return facility === null ? 'none' : (facilityNames[facility] ?? String(facility))
}
