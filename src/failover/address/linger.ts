/**
 * After a hand-over devices go on sending to this machine until they have heard of the other one. An
 * address that lingers is still received and no longer answered for: it has moved to the loopback
 * interface, and the interface that it left speaks for its own addresses only.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { isIPv6 } from 'node:net'
import type { Change } from './plan.ts'

/**
 * Linux, `ip-sysctl`: answer only for addresses of the interface that was asked, and ask in the name
 * of its own addresses only. IPv6 does both by itself (RFC 4861).
 */
const quiet = { arp_ignore: 1, arp_announce: 2 }

/**
 * @param batch carries out lines for `ip -batch`
 * @param held what is still on its interface, and is dropped there after this
 * @param seconds after which the kernel forgets the addresses by itself
 * @returns what ends it
 * @throws Error; then nothing lingers
 */
export async function linger(
  batch: (lines: readonly string[]) => Promise<void>,
  held: readonly Change[],
  seconds: number,
): Promise<() => Promise<void>> {
  const undo: (() => Promise<void>)[] = []
  const four = held.filter(({ address }) => !isIPv6(address))
  for (const link of new Set(four.map(one => one.link))) undo.push(...(await quieten(link)))
  const places = held.map(({ address }) => `${address}/${isIPv6(address) ? 128 : 32} dev lo`)
  try {
    await batch(
      places.map(place => {
        const nodad = place.includes(':') ? ' nodad' : ''
        return `address replace ${place}${nodad} valid_lft ${seconds} preferred_lft 0`
      }),
    )
  } catch (error) {
    for (const step of undo) await step()
    throw error
  }
  return async () => {
    // By then the kernel may have done it.
    await batch(places.map(place => `address delete ${place}`)).catch(() => {})
    for (const step of undo) await step()
  }
}

/** @returns what puts back what it changed. @throws Error without the right to */
async function quieten(link: string): Promise<(() => Promise<void>)[]> {
  const undo: (() => Promise<void>)[] = []
  for (const [name, wanted] of Object.entries(quiet)) {
    const file = `/proc/sys/net/ipv4/conf/${link}/${name}`
    const before = (await readFile(file, 'utf8')).trim()
    if (Number(before) >= wanted) continue
    await writeFile(file, `${wanted}\n`)
    undo.push(() => writeFile(file, `${before}\n`))
  }
  return undo
}
