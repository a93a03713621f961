import type { AnswerOf } from '../api/hooks.ts'

export type Version = AnswerOf<'listVersions'>['versions'][number]
export type Job = AnswerOf<'listJobs'>['jobs'][number]

/** Why a backup ran. */
export const causeText: Record<Version['cause'], string> = {
  schedule: 'schedule',
  request: 'by hand',
  change: 'device said so',
}

export function isRunning(job: Job | null): boolean {
  return job !== null && (job.state === 'queued' || job.state === 'running')
}
