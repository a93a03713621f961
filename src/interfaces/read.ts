/** What a device calls its interfaces: IF-MIB (RFC 2863), by whatever can walk a subtree. */

export interface Interface {
  /** ifIndex. */
  index: number
  /** ifName, or ifDescr where the device has none: `ge-0/0/0`. */
  name: string
  /** ifAlias: what a person has written beside it. */
  alias: string
  /** Bits per second, 0 if it is not said: ifHighSpeed, or ifSpeed. */
  speed: number
}

/** Counter64 is a bigint. */
export type Value = string | number | bigint

/** A session with a device's SNMP agent. */
export interface Walker {
  /** Everything below the object: what follows its identifier, and the value. */
  walk(oid: string): Promise<[suffix: string, value: Value][]>
}

const columns = {
  description: '1.3.6.1.2.1.2.2.1.2',
  speed: '1.3.6.1.2.1.2.2.1.5',
  name: '1.3.6.1.2.1.31.1.1.1.1',
  highSpeed: '1.3.6.1.2.1.31.1.1.1.15',
  alias: '1.3.6.1.2.1.31.1.1.1.18',
} as const
/** What an ifSpeed says that does not fit into it. */
const tooFast = 4_294_967_295
const maxText = 255

/** In rising order of their numbers. @throws what `walk` throws */
export async function readInterfaces(walker: Walker): Promise<Interface[]> {
  const found = new Map<number, Interface>()

  async function column(oid: string, put: (one: Interface, value: Value) => void) {
    for (const [suffix, value] of await walker.walk(oid)) {
      const index = Number(suffix)
      if (!Number.isInteger(index) || index < 1 || index >= 2 ** 32) continue
      const one = found.get(index) ?? { index, name: '', alias: '', speed: 0 }
      found.set(index, one)
      put(one, value)
    }
  }

  // An agent answers one question at a time.
  await column(columns.description, (one, value) => {
    one.name = textOf(value)
  })
  await column(columns.speed, (one, value) => {
    one.speed = value === tooFast ? 0 : Number(value)
  })
  await column(columns.name, (one, value) => {
    one.name = textOf(value) || one.name
  })
  await column(columns.highSpeed, (one, value) => {
    if (Number(value) > 0) one.speed = 1e6 * Number(value)
  })
  await column(columns.alias, (one, value) => {
    one.alias = textOf(value)
  })
  return [...found.values()].sort((a, b) => a.index - b.index)
}

function textOf(value: Value): string {
  // Some agents end a text with zero bytes.
  return String(value)
    .replaceAll(/\p{Cc}+/gu, ' ')
    .trim()
    .slice(0, maxText)
}
