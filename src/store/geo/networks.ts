/**
 * What a database in MaxMind's format says of networks: https://maxmind.github.io/MaxMind-DB/. The
 * reader answers for an address and with the length of the prefix that it stands for, so walking from
 * one prefix to the next sees them all.
 */
import { Reader, type Response } from 'mmdb-lib'

export interface GeoNetwork {
  /** `192.0.2.0/24` */
  prefix: string
  asn: number
  organisation: string
  /** ISO 3166-1, two letters; empty if it is not said. */
  country: string
}

/** Bytes that are no such database. */
export class GeoDatabaseError extends Error {
  override name = 'GeoDatabaseError'
}

/** Global unicast, RFC 4291 §2.4; and without what only stands for IPv4: RFC 3056, RFC 4380. */
const ipv6 = { from: 0x2000n << 112n, to: 0x4000n << 112n }
const aliases = [
  { from: 0x2002n << 112n, to: 0x2003n << 112n },
  { from: 0x20010000n << 96n, to: 0x20010001n << 96n },
]

/**
 * Every network that the database says something of, in rising order; neighbours of which it says the
 * same may be several.
 *
 * @throws GeoDatabaseError
 */
export function* geoNetworks(database: Buffer): Generator<GeoNetwork> {
  const reader = open(database)
  for (let at = 0; at < 2 ** 32; ) {
    const address = [24, 16, 8, 0].map(shift => Math.floor(at / 2 ** shift) % 256).join('.')
    const [record, length] = reader.getWithPrefixLength(address)
    const size = 2 ** (32 - length)
    const said = record && networkOf(record, `${address}/${length}`)
    if (said) yield said
    at = at - (at % size) + size
  }
  if (reader.metadata.ipVersion === 4) return
  for (let at = ipv6.from; at < ipv6.to; ) {
    const alias = aliases.find(({ from, to }) => from <= at && at < to)
    if (alias !== undefined) {
      at = alias.to
      continue
    }
    const address = ipv6Text(at)
    const [record, length] = reader.getWithPrefixLength(address)
    const size = 1n << BigInt(128 - length)
    const said = record && networkOf(record, `${address}/${length}`)
    if (said) yield said
    at = at - (at % size) + size
  }
}

function open(database: Buffer): Reader<Response> {
  try {
    return new Reader<Response>(database)
  } catch (error) {
    throw new GeoDatabaseError((error as Error).message)
  }
}

function networkOf(record: object, prefix: string): GeoNetwork | undefined {
  const said = record as Record<string, unknown>
  const { country: nested, registered_country: registered } = said as Record<
    string,
    { iso_code?: unknown } | undefined
  >
  const country = nested?.iso_code ?? registered?.iso_code ?? said.country_code
  const asn = Number(said.autonomous_system_number ?? 0)
  const network = {
    prefix,
    asn: Number.isInteger(asn) && asn > 0 && asn < 2 ** 32 ? asn : 0,
    organisation: String(said.autonomous_system_organization ?? ''),
    country: typeof country === 'string' && /^[A-Z]{2}$/.test(country) ? country : '',
  }
  return network.asn === 0 && network.country === '' ? undefined : network
}

function ipv6Text(address: bigint): string {
  const groups = Array.from({ length: 8 }, (_, index) =>
    ((address >> BigInt(112 - 16 * index)) & 0xffffn).toString(16),
  )
  return groups.join(':')
}
