import { lookup } from 'node:dns/promises'
import { networkInterfaces } from 'node:os'
import type { Component } from '../../lib/component.ts'

/** MAC addresses of this machine's interfaces. */
export function ownMacs(): string[] {
  const all = Object.values(networkInterfaces()).flatMap(found => found ?? [])
  const macs = new Set(all.filter(({ internal }) => !internal).map(({ mac }) => mac))
  return [...macs].filter(mac => mac !== '00:00:00:00:00:00')
}

const everyMs = 60_000

/** The addresses behind the name by which others reach this server; the last that were found. */
export function createOwnAddresses(config: { advertise: string }): Component & {
  current(): readonly string[]
} {
  let addresses: readonly string[] = []
  let timer: NodeJS.Timeout | undefined

  async function look() {
    // Resolves an address to itself. A name server that fails takes nothing away.
    const found = await lookup(config.advertise, { all: true }).catch(() => [])
    if (found.length > 0) addresses = found.map(({ address }) => address)
  }

  return {
    current: () => addresses,
    async start() {
      void look()
      timer = setInterval(look, everyMs)
    },
    async stop() {
      clearInterval(timer)
    },
  }
}
