import { createHash } from 'node:crypto'
import { Cron } from 'croner'

/** When a device without a schedule of its own is backed up: daily, in these hours of UTC. */
const nightFrom = 1
const nightMinutes = 4 * 60

/**
 * A daily schedule (cron, five fields, UTC) that depends on the device alone, so that both servers
 * say the same and a thousand devices are not asked in the same minute.
 */
export function defaultSchedule(deviceId: string): string {
  const digest = createHash('sha256').update(deviceId).digest()
  const minute = digest.readUInt32BE(0) % nightMinutes
  return `${minute % 60} ${nightFrom + Math.floor(minute / 60)} * * *`
}

/** The first moment after `after` that the cron expression names, in UTC. @throws Error if it is none */
export function nextRun(expression: string, after: Date): Date | undefined {
  return new Cron(expression, { timezone: 'UTC', paused: true }).nextRun(after) ?? undefined
}
