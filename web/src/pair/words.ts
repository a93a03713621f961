/** Changes of role and operations of the pair in words and colours. Pure. */
import type { AnswerOf } from '../api/hooks.ts'
import { formatDuration } from '../format/units.ts'
import type { Tone } from '../parts/panel.tsx'

export type RoleChange = AnswerOf<'listRoleChanges'>['changes'][number]
export type Operation = AnswerOf<'getOperation'>

const causes: Record<string, { label: string; tone: Tone }> = {
  started: { label: 'started', tone: 'plain' },
  first: { label: 'first', tone: 'plain' },
  stop: { label: 'stopped', tone: 'plain' },
  switchover: { label: 'switchover', tone: 'accent' },
  released: { label: 'released', tone: 'accent' },
  promoted: { label: 'by hand', tone: 'warn' },
  'let-go': { label: 'let go', tone: 'warn' },
  'former-self': { label: 'restarted', tone: 'warn' },
  'own-claim': { label: 'own claim', tone: 'warn' },
  'claim-failed': { label: 'claim failed', tone: 'warn' },
  unhealthy: { label: 'unwell', tone: 'warn' },
  'work-failed': { label: 'work failed', tone: 'bad' },
  'proven-dead': { label: 'proven dead', tone: 'bad' },
  silent: { label: 'silent', tone: 'bad' },
  'heartbeat-timeout': { label: 'heartbeat timeout', tone: 'bad' },
  fenced: { label: 'fenced', tone: 'bad' },
  expired: { label: 'lease expired', tone: 'bad' },
}

/** Why a role changed: calm where it was wanted, loud where something failed. */
export function causeOf(cause: string): { label: string; tone: Tone } {
  return causes[cause] ?? { label: cause, tone: 'plain' }
}

export const kindNames: Record<Operation['kind'], string> = {
  switchover: 'Switchover',
  drill: 'Drill',
  preflight: 'Check of the prerequisites',
  upgrade: 'Upgrade',
}

/** How it ended, or where it stands. */
export function outcomeOf(operation: Operation): { label: string; tone: Tone } {
  if (operation.finished === null) return { label: 'under way', tone: 'accent' }
  return operation.ok === true ? { label: 'done', tone: 'ok' } : { label: 'failed', tone: 'bad' }
}

/** The report in a line: `there 212 ms, back 180 ms`; empty where there is nothing to say. */
export function reportOf({ kind, report }: Operation): string {
  if (report === null) return ''
  const parts: string[] = []
  if (kind === 'preflight') parts.push(findingsOf(report.findings))
  if (kind === 'upgrade' && typeof report.version === 'string') parts.push(`to ${report.version}`)
  if (typeof report.thereMs === 'number') parts.push(`there ${formatDuration(report.thereMs)}`)
  if (typeof report.backMs === 'number') parts.push(`back ${formatDuration(report.backMs)}`)
  if (typeof report.failure === 'string') parts.push(report.failure)
  return parts.filter(part => part !== '').join(', ')
}

/** `12 pass, 1 warning, 2 failures` */
export function findingsOf(findings: unknown): string {
  if (!Array.isArray(findings)) return ''
  const count = (result: string) =>
    findings.filter(finding => (finding as { result?: unknown })?.result === result).length
  const some = (n: number, one: string, many: string) =>
    n === 0 ? '' : `${n} ${n === 1 ? one : many}`
  return [
    some(count('failure'), 'failure', 'failures'),
    some(count('warning'), 'warning', 'warnings'),
    some(count('pass'), 'pass', 'pass'),
    some(count('skipped'), 'skipped', 'skipped'),
  ]
    .filter(part => part !== '')
    .join(', ')
}

/** What the last drill took, to say what a switchover will: undefined if there was none. */
export function lastDrill(operations: readonly Operation[]): string | undefined {
  const drill = operations.find(({ kind, ok }) => kind === 'drill' && ok === true)
  return drill === undefined ? undefined : reportOf(drill)
}

export interface HistoryFilter {
  server: string | null
  /** `takeovers`: only when somebody became active. */
  which: 'all' | 'takeovers' | 'trouble'
  text: string
}

/** The changes that a person wants to see. */
export function matching(changes: readonly RoleChange[], filter: HistoryFilter): RoleChange[] {
  const words = filter.text
    .toLowerCase()
    .split(/\s+/)
    .filter(word => word !== '')
  return changes.filter(change => {
    const { server, role, cause, sentence, term } = change
    if (filter.server !== null && server !== filter.server) return false
    if (filter.which === 'takeovers' && role !== 'active') return false
    const { label, tone } = causeOf(cause)
    if (filter.which === 'trouble' && tone !== 'bad' && tone !== 'warn') return false
    const all = `${server} ${role} ${cause} ${label} ${sentence} term ${term}`.toLowerCase()
    return words.every(word => all.includes(word))
  })
}
