import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type PairSettings, pairSettings } from '../../api/contract/setup.ts'
import {
  type Authority,
  createKey,
  isIssuedBy,
  openAuthority,
  publicKeyOf,
  readCertificate,
  speaksFor,
} from '../../lib/tls.ts'
import { createConsoleCertificate } from './console-certificate.ts'

const yearMs = 365 * 86_400_000

let folder: string
let authority: Authority
let files: { key: string; cert: string }
let renewed: { key: string; cert: string }[]
let failures: Error[]
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keepwatch-console-'))
  authority = await openAuthority(folder)
  files = { key: join(folder, 'console.key'), cert: join(folder, 'console.crt') }
  renewed = []
  failures = []
  await issue(authority)
})
afterEach(() => rmSync(folder, { recursive: true }))

async function issue(by: Authority) {
  const key = await createKey()
  const subject = { role: 'console' as const, name: 'kw1', hosts: ['kw1.example.net'] }
  writeFileSync(files.key, key)
  writeFileSync(files.cert, await by.certify(subject, publicKeyOf(key)))
}

/** Looks once, as it does at a start. */
async function look(settings: Partial<PairSettings> = {}, now = Date.now()) {
  const certificate = createConsoleCertificate(
    {
      settings: async () => pairSettings.parse(settings),
      renewed: tls => renewed.push(tls),
      failed: error => failures.push(error),
      now: () => now,
    },
    { name: 'kw1', identityDir: folder, files },
  )
  await certificate.start()
  await certificate.stop()
}

const virtual: Partial<PairSettings> = {
  connection: { type: 'virtual-ip', addresses: [{ address: '192.0.2.10', prefix: 24 }] },
}

test('the console gets a certificate with the virtual address in it, for the key that it has', async () => {
  const key = readFileSync(files.key, 'utf8')
  await look(virtual)
  expect(renewed).toHaveLength(1)
  const cert = readFileSync(files.cert, 'utf8')
  expect(renewed[0]).toEqual({ key, cert })
  expect(isIssuedBy(cert, authority.ca, key)).toBe(true)
  expect(['kw1.example.net', '192.0.2.10'].map(host => speaksFor(cert, host))).toEqual([true, true])
  await look(virtual)
  expect(renewed).toHaveLength(1)
})

test('it is renewed before it ends, and not before that', async () => {
  await look({}, Date.now() + 4 * yearMs)
  expect(renewed).toEqual([])
  await look({}, Date.now() + 5 * yearMs - 30 * 86_400_000)
  expect(renewed).toHaveLength(1)
  expect(readCertificate(renewed[0]!.cert).hosts).toEqual(['kw1.example.net'])
})

test('one that came from elsewhere is never touched', async () => {
  await issue(await openAuthority(join(folder, 'elsewhere')))
  const before = readFileSync(files.cert, 'utf8')
  await look(virtual, Date.now() + 6 * yearMs)
  expect(readFileSync(files.cert, 'utf8')).toBe(before)
})

test('without the key of the authority it stays as it is; what is broken is said', async () => {
  rmSync(join(folder, 'ca.key'))
  await look(virtual)
  expect({ renewed, failures }).toEqual({ renewed: [], failures: [] })
  writeFileSync(join(folder, 'ca.key'), 'broken')
  await look(virtual)
  await vi.waitFor(() => expect(failures).toHaveLength(1))
})
