import { formatAddress, parseAddress } from '../telemetry/address.ts'

/** Bounds how often passwords can be guessed, by name and by address. */
export interface LogInLimit {
  /**
   * Counts an attempt before it is known how it ends, so that many at once are no way around.
   * False: too many have failed lately, this one must not be tried.
   */
  begin(name: string, address: string): Attempt | false
}

export interface Attempt {
  /** The password was right, or nobody could say: the attempt does not count. */
  forgive(): void
}

/**
 * Wrong passwords in a window, before a wait is imposed. One guesser is stopped at the first and
 * locks nobody else out of his name; one who goes through the names is stopped at the second; many
 * addresses together at the third.
 */
const limits = { nameFromAddress: 5, address: 20, name: 100 }
const windowMs = 60_000
const tracked = 10_000

export function createLogInLimit(now: () => number): LogInLimit {
  /** Beginning of the window and attempts in it, the longest untouched first. */
  const windows = new Map<string, { since: number; count: number }>()

  function windowOf(key: string) {
    const found = windows.get(key)
    const age = found ? now() - found.since : windowMs
    // The host's clock may have been set back.
    return found && age >= 0 && age < windowMs ? found : { since: now(), count: 0 }
  }

  return {
    begin(name, address) {
      const from = networkOf(address)
      const keys: [key: string, limit: number][] = [
        [`${from} ${name}`, limits.nameFromAddress],
        [`address ${from}`, limits.address],
        [`name ${name}`, limits.name],
      ]
      const current = keys.map(([key, limit]) => ({ key, limit, window: windowOf(key) }))
      if (current.some(({ limit, window }) => window.count >= limit)) return false
      for (const { key, window } of current) {
        window.count++
        windows.delete(key)
        windows.set(key, window)
      }
      while (windows.size > tracked) windows.delete(windows.keys().next().value!)
      return {
        forgive() {
          for (const { window } of current) window.count--
        },
      }
    },
  }
}

/** Whoever has one IPv6 address has the 2^64 of its network. */
function networkOf(address: string): string {
  const bytes = parseAddress(address)
  if (!bytes) return address
  const text = formatAddress(bytes)
  return text.includes(':') ? formatAddress(bytes.fill(0, 8)) : text
}
