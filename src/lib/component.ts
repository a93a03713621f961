import { within } from './within.ts'

/** What runs: inert until `start`; nothing of it remains after `stop`, also after a failed start. */
export interface Component {
  start(): Promise<void>
  stop(): Promise<void>
}

/**
 * Starts in order; stops in reverse order, all of them even if one fails to stop.
 *
 * @param config.undoMs what a start that failed may take to stop the others: then it fails all the same
 */
export function createSequence(
  components: readonly Component[],
  config: { undoMs: number } = { undoMs: 30_000 },
): Component {
  const started: Component[] = []
  async function stop() {
    const failures: unknown[] = []
    for (let component = started.pop(); component; component = started.pop()) {
      await component.stop().catch(error => failures.push(error))
    }
    if (failures.length > 0) throw new AggregateError(failures, 'not everything stopped')
  }
  return {
    async start() {
      for (const component of components) {
        started.push(component)
        try {
          await component.start()
        } catch (error) {
          await within(config.undoMs, stop()).catch(() => {})
          throw error
        }
      }
    },
    stop,
  }
}
