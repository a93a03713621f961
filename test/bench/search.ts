/** The search for the highest rate that a receiver holds. */

export interface Attempt {
  /** Nothing was lost. */
  held: boolean
  /** What was really offered, which is less than asked for where the sender is at its end. */
  offered: number
  senderLimited: boolean
}

export interface Highest {
  rate: number
  /** The receiver may hold more: nobody could send it. */
  atLeast: boolean
}

/**
 * Up or down by `factor` until one rate holds and a higher one does not, then by halves until the
 * two are within `precision`. A rate of 0: not even `floor` held.
 */
export async function findHighest(
  attempt: (rate: number) => Promise<Attempt>,
  config: { start: number; factor: number; precision: number; floor: number },
): Promise<Highest> {
  let low = 0
  let high = Number.POSITIVE_INFINITY
  let rate = config.start
  for (;;) {
    const { held, offered, senderLimited } = await attempt(rate)
    if (held && senderLimited) return { rate: Math.max(low, offered), atLeast: true }
    if (held) low = offered
    else high = rate
    if (low > 0 && high / low <= config.precision) return { rate: low, atLeast: false }
    if (high <= config.floor) return { rate: 0, atLeast: false }
    if (high === Number.POSITIVE_INFINITY) rate = low * config.factor
    else if (low === 0) rate = Math.max(config.floor, high / config.factor)
    else rate = Math.sqrt(low * high)
  }
}
