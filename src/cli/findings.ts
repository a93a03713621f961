/** What checks have found, for people. */
import type { Finding } from '../failover/preflight/finding.ts'

const marks: Record<Finding['result'], string> = {
  pass: 'ok     ',
  warning: 'WARNING',
  failure: 'FAILURE',
  skipped: 'skipped',
}

export function describeFindings(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ title }) => title.length))
  const lines = findings.flatMap(({ title, result, text, whatToDo }) => [
    `  ${marks[result]}  ${title.padEnd(width)}  ${text}`,
    ...(whatToDo === null ? [] : [`${' '.repeat(width + 13)}→ ${whatToDo}`]),
  ])
  const count = (result: Finding['result']) =>
    findings.filter(finding => finding.result === result).length
  const summary = `${findings.length} checks: ${count('pass')} ok, ${count('warning')} warnings, ${count('failure')} failures, ${count('skipped')} skipped`
  return `${lines.join('\n')}\n${summary}\n`
}
