/**
 * The deployment's private certificate authority: one, made at first start, that vouches for
 * servers and collectors. Links between them accept nothing else.
 */
import { createPublicKey, webcrypto, X509Certificate } from 'node:crypto'
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
  /** `console`: for browsers; the link accepts no such certificate. `witness`: it votes, and nothing else. */
  role: 'server' | 'collector' | 'witness' | 'console'
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
  const ca = authority.toString('pem')
  return {
    ca,
    certify: (subject, publicKey) => certify(authority, key, subject, publicKey),
    async issue(subject) {
      const own = await createKey()
      return { key: own, cert: await certify(authority, key, subject, publicKeyOf(own)), ca }
    },
  }
}

/** Whether certificates can be issued from this folder: the authority's key is in it. */
export function hasAuthority(folder: string): boolean {
  return existsSync(join(folder, 'ca.key')) && existsSync(join(folder, 'ca.crt'))
}

export interface Authority {
  /** The authority's own certificate, PEM. */
  ca: string
  /** Makes a key and certifies it. */
  issue(subject: Subject): Promise<Identity>
  /** Certifies a key that somebody else keeps. @returns the certificate, PEM */
  certify(subject: Subject, publicKey: string): Promise<string>
}

/** A new private key, PEM. */
export async function createKey(): Promise<string> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  return exportKey(keys.privateKey)
}

/** PEM. @throws Error if it is no private key */
export function publicKeyOf(key: string): string {
  return createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString()
}

/** SHA-256 of a certificate's DER, base64url: by it somebody who was told it knows it again. */
export function fingerprintOf(certificate: string): string {
  const hex = new X509Certificate(certificate).fingerprint256.replaceAll(':', '')
  return Buffer.from(hex, 'hex').toString('base64url')
}

/** What a certificate says, as far as others ask. */
export interface CertificateFacts {
  /** Names and addresses, as they are written in it. */
  hosts: string[]
  expires: Date
}

/** @throws Error if it is no certificate */
export function readCertificate(certificate: string): CertificateFacts {
  const { subjectAltName = '', validTo } = new X509Certificate(certificate)
  const hosts = subjectAltName
    .split(', ')
    .flatMap(entry => /^(?:DNS|IP Address):"?([^"]+)"?$/.exec(entry)?.[1] ?? [])
  return { hosts, expires: new Date(validTo) }
}

/** Whether a browser that asks for this name or address would accept the certificate for it. */
export function speaksFor(certificate: string, host: string): boolean {
  const read = new X509Certificate(certificate)
  return (isIP(host) ? read.checkIP(host) : read.checkHost(host)) !== undefined
}

/** Whether the certificate is of this authority and, if a key is named, for it. */
export function isIssuedBy(certificate: string, ca: string, key?: string): boolean {
  const read = new X509Certificate(certificate)
  const authority = new X509Certificate(ca)
  if (!read.checkIssued(authority) || !read.verify(authority.publicKey)) return false
  return key === undefined || read.publicKey.equals(createPublicKey(key))
}

async function certify(
  authority: x509.X509Certificate,
  signingKey: webcrypto.CryptoKey,
  subject: Subject,
  publicKey: string,
): Promise<string> {
  const der = createPublicKey(publicKey).export({ type: 'spki', format: 'der' })
  const certified = await webcrypto.subtle.importKey('spki', der, algorithm, true, ['verify'])
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: `CN=${subject.name}, OU=${subject.role}`,
    issuer: authority.subject,
    notBefore: yesterday(),
    notAfter: inYears(certificateYears),
    publicKey: certified,
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
  return certificate.toString('pem')
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
