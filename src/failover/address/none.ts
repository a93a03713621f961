import type { AddressAdapter } from './address.ts'

/** No address moves: the standby sends people and programs to the active by itself. */
export const noAddress: AddressAdapter = {
  async take() {},
  async drop() {},
}
