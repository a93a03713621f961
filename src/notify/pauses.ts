/** How long to wait after what failed: longer each time. Pure. */

const seconds = (...values: number[]) => values.map(value => value * 1000)
/** Nothing gets through: tried often enough that mail flows soon after the repair. */
const channelPauses = seconds(2, 5, 10, 20, 30, 60)
/** One notice does not get through. */
const messagePauses = seconds(60, 180, 600, 1800, 3600)

export function createPauses() {
  let failures = 0
  return {
    /** Milliseconds for the whole channel, after one more failure of it. */
    ofChannel(): number {
      return at(channelPauses, failures++)
    },
    /** Something got through, were it only to be refused. */
    succeeded() {
      failures = 0
    },
    /** Milliseconds for one notice after that many attempts. */
    ofMessage(attempts: number): number {
      return at(messagePauses, attempts - 1)
    },
  }
}

function at(pauses: readonly number[], index: number): number {
  return pauses[Math.min(Math.max(index, 0), pauses.length - 1)]!
}

export type Pauses = ReturnType<typeof createPauses>
