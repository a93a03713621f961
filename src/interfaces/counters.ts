/** What a device's interfaces have counted: IF-MIB (RFC 2863), by whatever can walk a subtree. */
import type { InterfaceCounters } from '../telemetry/counter.ts'
import type { Walker } from './read.ts'

type Counter = Exclude<keyof InterfaceCounters, 'index' | 'oper'>

const ifEntry = '1.3.6.1.2.1.2.2.1'
const ifXEntry = '1.3.6.1.2.1.31.1.1.1'
const operStatus = `${ifEntry}.8`
const columns: readonly [Counter, string][] = [
  ['inOctets', `${ifXEntry}.6`],
  ['inUnicast', `${ifXEntry}.7`],
  ['inMulticast', `${ifXEntry}.8`],
  ['inBroadcast', `${ifXEntry}.9`],
  ['inDiscards', `${ifEntry}.13`],
  ['inErrors', `${ifEntry}.14`],
  ['outOctets', `${ifXEntry}.10`],
  ['outUnicast', `${ifXEntry}.11`],
  ['outMulticast', `${ifXEntry}.12`],
  ['outBroadcast', `${ifXEntry}.13`],
  ['outDiscards', `${ifEntry}.19`],
  ['outErrors', `${ifEntry}.20`],
]

/**
 * Of interfaces that have 64-bit counters of bytes: those of 32 bits go around within seconds on
 * today's links. In rising order of their numbers. @throws what `walk` throws
 */
export async function readCounters(walker: Walker): Promise<InterfaceCounters[]> {
  const found = new Map<number, InterfaceCounters>()
  for (const [counter, oid] of columns) {
    for (const [suffix, value] of await walker.walk(oid)) {
      const index = Number(suffix)
      if (!Number.isInteger(index) || index < 1 || index >= 2 ** 32) continue
      if (counter === 'inOctets') found.set(index, nothing(index))
      const one = found.get(index)
      if (one !== undefined) one[counter] = typeof value === 'string' ? 0n : BigInt(value)
    }
  }
  for (const [suffix, value] of await walker.walk(operStatus)) {
    const one = found.get(Number(suffix))
    if (one !== undefined) one.oper = Number(value)
  }
  return [...found.values()].sort((a, b) => a.index - b.index)
}

function nothing(index: number): InterfaceCounters {
  const zeros = Object.fromEntries(columns.map(([counter]) => [counter, 0n]))
  return { index, oper: 0, ...(zeros as Record<Counter, bigint>) }
}
