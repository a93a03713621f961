/** Time as it is passed in, so that what depends on it can be tested. */
export interface Clock {
  /** Milliseconds since 1970 by the host's clock; may jump. */
  wall(): number
  /** Milliseconds since some moment; never jumps, and stands still while the machine is suspended. */
  monotonic(): number
}

export const systemClock: Clock = {
  wall: () => Date.now(),
  monotonic: () => performance.now(),
}
