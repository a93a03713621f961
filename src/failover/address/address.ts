/**
 * How the network finds the active server. Both calls may be repeated and change nothing then; a
 * drop while a take is still under way wins.
 */
export interface AddressAdapter {
  /** Makes the network reach this server. */
  take(): Promise<void>
  /** Makes sure that it no longer does; also called at every start, for what a crash left behind. */
  drop(): Promise<void>
}
