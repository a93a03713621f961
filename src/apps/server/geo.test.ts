import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { geoDatabase } from '../../../test/fixtures/geo-database.ts'
import { systemClock } from '../../lib/clock.ts'
import { createLog } from '../../lib/log.ts'
import type { Geo } from '../../store/clickhouse/lookups.ts'
import { createGeo, type GeoFiles } from './geo.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'keepwatch-geo-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

async function lookedAt(files: GeoFiles, versions = new Map<string, string>()) {
  const filled: Geo[] = []
  const counted: string[] = []
  const geo = createGeo(
    {
      clock: systemClock,
      log: createLog({ level: 'silent', part: 'test' }),
      tally: { count: (_reason, detail) => counted.push(String(detail?.().error)) },
      fill: async one => void filled.push(one),
      versionOf: async list => versions.get(list),
    },
    files,
    { firstMs: 0 },
  )
  await geo.start()
  await vi.waitFor(() => expect(filled.length + counted.length).toBeGreaterThan(0), 20_000)
  await geo.stop()
  return { filled, counted }
}

test('autonomous systems are those of the file that the operator names', async () => {
  const asn = join(dir, 'asn.mmdb')
  const example = { autonomous_system_number: 64_500, autonomous_system_organization: 'Example' }
  writeFileSync(asn, geoDatabase({ '192.0.2.0/24': example }))
  const { filled } = await lookedAt({ asn, country: false })
  expect(filled).toMatchObject([
    {
      list: 'systems',
      networks: [{ prefix: '192.0.2.0/24', asn: 64_500, organisation: 'Example' }],
    },
  ])
})

test('countries are known without any file', async () => {
  const { filled } = await lookedAt({})
  expect(filled[0]!.networks.length).toBeGreaterThan(100_000)
}, 30_000)

test('a file that is no database is counted, and what was known stays', async () => {
  const asn = join(dir, 'asn.mmdb')
  writeFileSync(asn, 'not a database')
  expect(await lookedAt({ asn, country: false })).toEqual({
    filled: [],
    counted: [expect.stringMatching(/.+/)],
  })
})

test('a file is read once, until it is replaced', async () => {
  const asn = join(dir, 'asn.mmdb')
  const example = { autonomous_system_number: 64_500 }
  writeFileSync(asn, geoDatabase({ '192.0.2.0/24': example }))
  const { filled } = await lookedAt({ asn, country: false })
  const known = new Map([['systems', filled[0]!.version]])
  const both = geoDatabase({ '192.0.2.0/24': example, '198.51.100.0/24': example })
  const bad = join(dir, 'bad.mmdb')
  writeFileSync(bad, 'not a database')
  expect((await lookedAt({ asn, country: bad }, known)).filled).toEqual([])
  writeFileSync(asn, both)
  expect((await lookedAt({ asn, country: false }, known)).filled[0]!.networks).toHaveLength(2)
})
