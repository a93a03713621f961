/**
 * After a hand-over devices go on sending to this machine until they have heard of the other one. An
 * address that lingers is still received and no longer answered for: the kernel takes it for its own
 * on the loopback interface, and the interface that it left speaks for its own addresses only.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { isIPv6 } from 'node:net'
import { addressLine, lingerLines } from './ip-batch.ts'
import type { Change } from './plan.ts'

/**
 * Linux, `ip-sysctl`: answer only for addresses of the interface that was asked, and ask in the name
 * of its own addresses only. IPv6 does both by itself (RFC 4861).
 */
const quiet = { arp_ignore: 1, arp_announce: 2 }

/**
 * Takes them off their interface and lets them linger; in one go, since the other server waits for it.
 *
 * @param batch carries out lines for `ip -batch`, also those after one that fails
 * @param held what is on its interface, and is not there any more after this
 * @param seconds after which the kernel forgets the addresses by itself
 * @returns what ends it
 * @throws Error; then nothing lingers, and what is left is to be deleted
 */
export async function linger(
  batch: (lines: readonly string[]) => Promise<void>,
  held: readonly Change[],
  seconds: number,
): Promise<() => Promise<void>> {
  const undo: (() => Promise<void>)[] = []
  const four = held.filter(({ address }) => !isIPv6(address))
  for (const link of new Set(four.map(one => one.link))) undo.push(...(await quieten(link)))
  const places = held.map(({ address }) => lingerLines(address, seconds))
  try {
    await batch([
      ...places.map(place => place.add),
      ...held.map(one => addressLine('delete', one, seconds)),
    ])
  } catch (error) {
    for (const step of undo) await step()
    throw error
  }
  return async () => {
    // By then the kernel may have done it.
    await batch(places.map(place => place.delete)).catch(() => {})
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
