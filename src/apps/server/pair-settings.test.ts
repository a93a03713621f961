import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { StoredPairSettings } from '../../store/postgres/pair-settings.ts'
import { createPairSettingsWatch, type KnownPairSettings } from './pair-settings.ts'

let dataDir: string
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'keepwatch-pair-settings-'))
})
afterEach(() => rmSync(dataDir, { recursive: true, force: true }))

const stored = (version: number, settings: object): StoredPairSettings => ({
  settings,
  secrets: { smtpPassword: 'geheim' },
  version,
  changedAt: new Date(0),
  changedBy: 'ada',
})

function watch(read: () => Promise<StoredPairSettings | undefined>) {
  const applied: KnownPairSettings[] = []
  const counted: string[] = []
  const settings = createPairSettingsWatch(
    {
      read,
      apply(known) {
        applied.push(known)
      },
      tally: { count: (reason, detail) => counted.push(`${reason}: ${detail?.().error}`) },
    },
    { dataDir, key: Buffer.alloc(32, 7) },
  )
  return { settings, applied, counted }
}

const address = { type: 'virtual-ip', addresses: [{ address: '192.0.2.10', prefix: 24 }] }

describe('the settings of the pair', () => {
  test('begin with none, and are applied when somebody sets them', async () => {
    let now: StoredPairSettings | undefined
    const { settings, applied } = watch(async () => now)
    await settings.start()
    expect(applied.map(({ version }) => version)).toEqual([0])
    now = stored(1, { connection: address })
    await settings.refresh()
    await settings.refresh()
    expect(applied.map(({ version }) => version)).toEqual([0, 1])
    expect(settings.current()).toMatchObject({
      settings: { connection: address, mail: null },
      secrets: { smtpPassword: 'geheim' },
    })
    await settings.stop()
  })

  test('are known at the next start before the database answers, and lie encrypted on the disk', async () => {
    const first = watch(async () => stored(4, { connection: address }))
    await first.settings.start()
    await first.settings.stop()
    expect(readFileSync(join(dataDir, 'pair-settings.json'), 'latin1')).not.toMatch(/geheim|192/)
    const second = watch(() => Promise.reject(new Error('the database is away')))
    await second.settings.start()
    expect(second.applied).toMatchObject([{ version: 4, settings: { connection: address } }])
    expect(second.counted).toEqual(['pair-settings: the database is away'])
    await second.settings.stop()
  })

  test('whose copy is damaged are read from the database', async () => {
    writeFileSync(join(dataDir, 'pair-settings.json'), 'rubbish')
    const { settings, applied, counted } = watch(async () => stored(2, {}))
    await settings.start()
    expect(applied.map(({ version }) => version)).toEqual([0, 2])
    expect(counted).toHaveLength(1)
    await settings.stop()
  })
})
