import { type DestinationStream, type Logger, pino } from 'pino'

/**
 * The log: one JSON line an event on standard error (standard output belongs to commands' answers).
 * error: somebody must act. warn: worth knowing in the morning. info: changes of state. debug: the rest.
 */
export type Log = Logger

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

export function createLog(
  config: { level: LogLevel; part: string },
  destination: DestinationStream = pino.destination({ dest: 2, sync: true }),
): Log {
  return pino(
    {
      level: config.level,
      base: { part: config.part },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
    },
    destination,
  )
}
