import type { AddressAdapter } from './address.ts'

/** No address moves: the standby sends people and programs to the active by itself. */
export const noAddress: AddressAdapter = {
  async start() {},
  async stop() {},
  async take() {},
  async drop() {},
  hold() {},
  status: () => ({ type: 'none', what: [], held: false, fault: undefined }),
}
