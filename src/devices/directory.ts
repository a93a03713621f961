import type { Device } from './store.ts'

/** Finds the device that a message came from. */
export interface Directory {
  /** One if it is clear, several if it could be any of them, none if it is nobody's. */
  candidates(sender: string, host: string): readonly Device[]
}

const none: readonly Device[] = []

/**
 * By the sender's address first. Where several devices share one (behind a relay or a translation)
 * or none has it (a device known by name), the host name in the message decides. Devices that are
 * not enabled are not found.
 */
export function createDirectory(devices: readonly Device[]): Directory {
  const enabled = devices.filter(device => device.enabled)
  const byAddress = Map.groupBy(enabled, device => plainAddress(device.address))
  const byName = Map.groupBy(enabled, device => shortName(device.name))
  return {
    candidates(sender, host) {
      const atAddress = byAddress.get(plainAddress(sender)) ?? none
      if (atAddress.length === 1) return atAddress
      const named = host === '' ? none : (byName.get(shortName(host)) ?? none)
      if (atAddress.length === 0) return named
      const both = atAddress.filter(device => named.includes(device))
      return both.length > 0 ? both : atAddress
    },
  }
}

/** `::ffff:192.0.2.1` is 192.0.2.1 (RFC 4291 §2.5.5.2). */
function plainAddress(address: string): string {
  return address.toLowerCase().replace(/^::ffff:(?=\d+\.)/, '')
}

/** `core1.example.net` and `CORE1` are the same device's names. */
function shortName(name: string): string {
  const lower = name.toLowerCase()
  return /^[\d.:]+$/.test(lower) ? lower : lower.split('.', 1)[0]!
}
