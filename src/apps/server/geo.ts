/**
 * Countries and autonomous systems of public addresses, from databases in MaxMind's format: those that
 * the operator names, and for countries else the one that comes with the program. A file that is
 * replaced is read anew; one that cannot be read leaves what was known.
 */
import { readFile, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '../../lib/clock.ts'
import type { Component } from '../../lib/component.ts'
import type { Log } from '../../lib/log.ts'
import type { Tally } from '../../lib/tally.ts'
import type { Geo, GeoList } from '../../store/clickhouse/lookups.ts'
import { type GeoNetwork, geoNetworks } from '../../store/geo/networks.ts'

export interface GeoFiles {
  /** Of autonomous systems. */
  asn?: string | undefined
  /** Of countries; false: none. */
  country?: string | false | undefined
}

const everyMs = 60_000
/** A start and a takeover have better things to do. */
const usualFirstMs = 15_000
/** Between slices of the walk through a database the server does its work. */
const sliceMs = 8
/** What comes with the program is in the public domain (CC0). */
const countriesOfProgram = '@ip-location-db/geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb'

export function createGeo(
  deps: {
    clock: Clock
    log: Log
    tally: Pick<Tally<'geo'>, 'count'>
    fill(geo: Geo): Promise<void>
    /** Of what it was filled with last, also before a restart. */
    versionOf(list: GeoList): Promise<string | undefined>
  },
  files: GeoFiles,
  { firstMs = usualFirstMs }: { firstMs?: number } = {},
): Component {
  const { clock, log } = deps
  const country = files.country ?? createRequire(import.meta.url).resolve(countriesOfProgram)
  const sources: readonly { list: GeoList; file: string | undefined }[] = [
    { list: 'systems', file: files.asn },
    { list: 'countries', file: country === false ? undefined : country },
  ]
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | undefined

  async function look() {
    for (const { list, file } of sources) {
      if (file === undefined) continue
      try {
        const { mtimeMs, size } = await stat(file)
        const version = `${file} ${mtimeMs} ${size}`
        if ((await deps.versionOf(list)) === version) continue
        const networks = await walk(await readFile(file))
        if (timer === undefined) return
        await deps.fill({ list, version, networks })
        log.info({ file, networks: networks.length }, 'read what is known of public addresses')
      } catch (error) {
        deps.tally.count('geo', () => ({ file, error: (error as Error).message }))
      }
    }
  }

  async function walk(database: Buffer): Promise<GeoNetwork[]> {
    const found: GeoNetwork[] = []
    let until = clock.monotonic() + sliceMs
    for (const network of geoNetworks(database)) {
      found.push(network)
      if (found.length % 100 !== 0 || clock.monotonic() < until) continue
      await nextTurn()
      if (timer === undefined) break
      until = clock.monotonic() + sliceMs
    }
    return found
  }

  function tick() {
    looking ??= look().finally(() => {
      looking = undefined
    })
  }

  return {
    async start() {
      timer = setTimeout(() => {
        timer = setInterval(tick, everyMs)
        tick()
      }, firstMs)
    },
    async stop() {
      clearTimeout(timer)
      timer = undefined
      await looking
    },
  }
}
