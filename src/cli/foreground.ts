import type { Component } from '../lib/component.ts'

/**
 * Starts a component and keeps it until the process is asked to stop: SIGINT, SIGTERM, SIGHUP, or
 * the end of the process that started this one. A second request ends it at once.
 *
 * @param onReady called when it serves; what it returns is also told to the process that started us
 */
export async function runInForeground(
  component: Component,
  onReady: () => Record<string, unknown>,
): Promise<void> {
  const asked = Promise.withResolvers<void>()
  let requests = 0
  const stop = () => {
    if (++requests > 1) process.exit(130)
    asked.resolve()
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop)
  process.once('disconnect', stop)
  process.on('unhandledRejection', error => {
    process.stderr.write(`keepwatch: ${(error as Error)?.stack ?? error}\n`)
    process.exit(1)
  })
  let failure: unknown
  const starting = component.start().then(() => {
    const ready = onReady()
    if (process.connected) process.send?.({ ready })
  })
  starting.catch(error => {
    failure = error
    asked.resolve()
  })
  await asked.promise
  // What stops while it starts has to finish one before the other.
  await starting.catch(() => {})
  await component.stop()
  if (failure !== undefined) throw failure
  process.exit(process.exitCode ?? 0)
}
