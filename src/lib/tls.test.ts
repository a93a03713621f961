import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  type Authority,
  createKey,
  fingerprintOf,
  hasAuthority,
  isIssuedBy,
  openAuthority,
  publicKeyOf,
  readCertificate,
  speaksFor,
} from './tls.ts'

let folder: string
let authority: Authority
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keepwatch-tls-'))
  authority = await openAuthority(join(folder, 'own'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const hosts = ['kw2.example.net', '192.0.2.2', '2001:db8::2']

test('a key that somebody else keeps is certified, and the certificate is for that key alone', async () => {
  const key = await createKey()
  const subject = { role: 'server' as const, name: 'kw2', hosts }
  const certificate = await authority.certify(subject, publicKeyOf(key))
  expect(isIssuedBy(certificate, authority.ca, key)).toBe(true)
  expect(isIssuedBy(certificate, authority.ca, await createKey())).toBe(false)
  expect(new X509Certificate(certificate).subject.split('\n').sort()).toEqual([
    'CN=kw2',
    'OU=server',
  ])
})

test('a certificate of another authority of the same name is not taken for one of this', async () => {
  const other = await openAuthority(join(folder, 'other'))
  const { cert } = await other.issue({ role: 'server', name: 'kw2', hosts })
  expect(isIssuedBy(cert, other.ca)).toBe(true)
  expect(isIssuedBy(cert, authority.ca)).toBe(false)
  expect(fingerprintOf(other.ca)).not.toBe(fingerprintOf(authority.ca))
  expect(fingerprintOf(authority.ca)).toMatch(/^[\w-]{43}$/)
})

test('a certificate says for whom it is and until when', async () => {
  const { cert } = await authority.issue({ role: 'console', name: 'kw2', hosts })
  const { hosts: named, expires } = readCertificate(cert)
  expect(named).toHaveLength(3)
  expect(named.slice(0, 2)).toEqual(hosts.slice(0, 2))
  expect((expires.getTime() - Date.now()) / 86_400_000).toBeCloseTo(5 * 365, -1)
  expect(
    [...hosts, '2001:0DB8:0::2', 'kw1.example.net', '192.0.2.1'].map(host => speaksFor(cert, host)),
  ).toEqual([true, true, true, true, false, false])
})

test('certificates are issued where the key of the authority is', () => {
  expect(hasAuthority(join(folder, 'own'))).toBe(true)
  rmSync(join(folder, 'own', 'ca.key'))
  expect(hasAuthority(join(folder, 'own'))).toBe(false)
  expect(hasAuthority(join(folder, 'nowhere'))).toBe(false)
})
