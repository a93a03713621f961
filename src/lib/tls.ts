/**
 * The deployment's private certificate authority: one, made at first start, that vouches for
 * servers and collectors. Links between them accept nothing else.
 */
import { webcrypto } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
// The certificate library finds its parts through it.
import 'reflect-metadata'
import * as x509 from '@peculiar/x509'
import { writeWhole } from './files.ts'

/** What a TLS socket needs to prove who it is and to judge the other side. PEM. */
export interface Identity {
  key: string
  cert: string
  ca: string
}

/** Who a certificate speaks for; becomes the subject `CN=<name>, OU=<role>`. */
export interface Subject {
  role: 'server' | 'collector'
  name: string
  /** Host names and addresses at which it can be reached. */
  hosts: string[]
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const authorityYears = 20
const certificateYears = 5

x509.cryptoProvider.set(webcrypto as unknown as typeof globalThis.crypto)

/** Reads the authority in `folder`, or makes it: `ca.key` (0600) and `ca.crt`. */
export async function openAuthority(folder: string): Promise<Authority> {
  const keyFile = join(folder, 'ca.key')
  const certFile = join(folder, 'ca.crt')
  if (!existsSync(certFile)) {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serial(),
      name: 'CN=Keepwatch private authority',
      notBefore: yesterday(),
      notAfter: inYears(authorityYears),
      keys,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign),
      ],
    })
    writeWhole(keyFile, await exportKey(keys.privateKey), 0o600)
    writeWhole(certFile, certificate.toString('pem'), 0o644)
  }
  const authority = new x509.X509Certificate(readFileSync(certFile, 'utf8'))
  const key = await importKey(readFileSync(keyFile, 'utf8'))
  return { ca: authority.toString('pem'), issue: subject => issue(authority, key, subject) }
}

export interface Authority {
  /** The authority's own certificate, PEM. */
  ca: string
  issue(subject: Subject): Promise<Identity>
}

async function issue(
  authority: x509.X509Certificate,
  signingKey: webcrypto.CryptoKey,
  subject: Subject,
): Promise<Identity> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: `CN=${subject.name}, OU=${subject.role}`,
    issuer: authority.subject,
    notBefore: yesterday(),
    notAfter: inYears(certificateYears),
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      new x509.SubjectAlternativeNameExtension(
        subject.hosts.map(value => ({
          type: isIP(value) ? ('ip' as const) : ('dns' as const),
          value,
        })),
      ),
    ],
  })
  return {
    key: await exportKey(keys.privateKey),
    cert: certificate.toString('pem'),
    ca: authority.toString('pem'),
  }
}

/** Reads `<name>.key`, `<name>.crt` and `ca.crt` in `folder`. */
export function readIdentity(folder: string, name: string): Identity {
  return {
    key: readFileSync(join(folder, `${name}.key`), 'utf8'),
    cert: readFileSync(join(folder, `${name}.crt`), 'utf8'),
    ca: readFileSync(join(folder, 'ca.crt'), 'utf8'),
  }
}

/** Writes what `readIdentity` reads. */
export function writeIdentity(folder: string, name: string, identity: Identity): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  writeWhole(join(folder, `${name}.key`), identity.key, 0o600)
  writeWhole(join(folder, `${name}.crt`), identity.cert, 0o644)
  writeWhole(join(folder, 'ca.crt'), identity.ca, 0o644)
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = await webcrypto.subtle.exportKey('pkcs8', key)
  return x509.PemConverter.encode(der, 'PRIVATE KEY')
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = x509.PemConverter.decodeFirst(pem)
  return webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign'])
}

function serial(): string {
  return Buffer.from(webcrypto.getRandomValues(new Uint8Array(16))).toString('hex')
}

function yesterday(): Date {
  return new Date(Date.now() - 86_400_000)
}

function inYears(years: number): Date {
  return new Date(Date.now() + years * 365 * 86_400_000)
}
