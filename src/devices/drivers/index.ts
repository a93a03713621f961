import { ios } from './cisco/ios.ts'
import type { Driver } from './driver.ts'
import { frr } from './linux/frr.ts'

/** Every driver there is, by what a device's record names. */
export const drivers: ReadonlyMap<string, Driver> = new Map(
  [ios, frr].map((driver): [string, Driver] => [driver.id, driver]),
)
