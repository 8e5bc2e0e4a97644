/**
 * Certificates of one replication set: a self-signed CA, a client certificate per secondary, a server certificate for the
 * primary's cluster listener.
 *
 * Keys are P-256. Vault uses P-521 for client keys, but TLS 1.3 agrees on its keys with X25519 (about 128 bits), so a larger
 * certificate curve adds no strength to the link, while P-256 has OpenSSL's fastest and most reviewed constant-time code.
 */
import { createPrivateKey, randomBytes, webcrypto } from 'node:crypto'
import type { Extension, X509Certificate } from '@peculiar/x509'
import { BootstrapError } from './errors.ts'
import { checkClusterId, checkSecondaryId, primaryServerName } from './ids.ts'
import { fingerprint } from './peer.ts'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' }
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' }
/** Clocks of two clusters may differ by this much. */
const CLOCK_SKEW_MS = 5 * 60_000
/** 30 years: a link has no renewal protocol and is ended by removing its fingerprint, not by expiry. */
const DEFAULT_LIFETIME_MS = 30 * 365.25 * 24 * 3_600_000
const MAX_LIFETIME_MS = 100 * 365.25 * 24 * 3_600_000

export interface IssuedCertificate {
  certificatePem: string
  /** PKCS#8. */
  privateKeyPem: string
  /** SHA-256 of the DER certificate, 64 lower-case hex digits. */
  fingerprint: string
  /** Milliseconds since the epoch. */
  notBefore: number
  notAfter: number
}

export interface ReplicationCa extends IssuedCertificate {
  clusterId: string
}

export interface Validity {
  /** Milliseconds since the epoch. */
  now: number
  /** Milliseconds; default 30 years, and never past the CA's own end. */
  lifetime?: number
}

/** A self-signed CA named `rep-ca-<clusterId>` that may sign end certificates only (path length 0). */
export async function createReplicationCa(options: { clusterId: string } & Validity): Promise<ReplicationCa> {
  const clusterId = checkClusterId(options.clusterId)
  return { clusterId, ...(await selfSigned(`rep-ca-${clusterId}`, options)) }
}

/** A self-signed CA `name` that may sign end certificates only (path length 0). */
export async function selfSigned(name: string, options: Validity): Promise<IssuedCertificate> {
  const x509 = await loadX509()
  const keys = await generateKeys()
  const period = validity(options)
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serialNumber(),
      name: [{ CN: [name] }],
      ...period,
      signingAlgorithm: SIGNING,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  )
  return issued(certificate, keys.privateKey, period)
}

/** A client certificate: CN and DNS name are the secondary's id, extended key usage clientAuth only. */
export async function issueSecondary(
  ca: ReplicationCa,
  options: { id: string } & Validity,
): Promise<IssuedCertificate> {
  return issue(ca, checkSecondaryId(options.id), 'clientAuth', options)
}

/** A server certificate for the primary's cluster listener; its only name is `primaryServerName(ca.clusterId)`. */
export async function issuePrimaryServer(ca: ReplicationCa, options: Validity): Promise<IssuedCertificate> {
  return issue(ca, primaryServerName(ca.clusterId), 'serverAuth', options)
}

/** CN and DNS name are `name`. */
export async function issue(
  ca: Pick<IssuedCertificate, 'certificatePem' | 'privateKeyPem' | 'notAfter'>,
  name: string,
  usage: 'clientAuth' | 'serverAuth',
  options: Validity,
): Promise<IssuedCertificate> {
  const x509 = await loadX509()
  const [keys, signingKey] = await Promise.all([generateKeys(), importSigningKey(ca.privateKeyPem)])
  const period = validity(options, ca.notAfter)
  const issuer = new x509.X509Certificate(ca.certificatePem)
  const extensions: Extension[] = [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage[usage]], true),
    new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: name }]),
    await x509.AuthorityKeyIdentifierExtension.create(issuer, false, webcrypto),
    await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
  ]
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: serialNumber(),
      subject: [{ CN: [name] }],
      issuer: issuer.subjectName.toJSON(),
      ...period,
      signingAlgorithm: SIGNING,
      publicKey: keys.publicKey,
      signingKey,
      extensions,
    },
    webcrypto,
  )
  return issued(certificate, keys.privateKey, period)
}

// Loaded on first use: issuing is rare, and the ASN.1 schemas take a noticeable part of a server's start.
async function loadX509() {
  await import('reflect-metadata')
  return import('@peculiar/x509')
}

function generateKeys() {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
}

async function importSigningKey(pem: string) {
  try {
    const der = createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' })
    const key = await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign'])
    der.fill(0)
    return key
  } catch {
    throw new BootstrapError('BOOTSTRAP_INVALID_KEY', 'the CA private key is not a P-256 key in PEM')
  }
}

function validity({ now, lifetime = DEFAULT_LIFETIME_MS }: Validity, latest = Number.POSITIVE_INFINITY) {
  if (!(lifetime > 0 && lifetime <= MAX_LIFETIME_MS)) {
    throw new BootstrapError(
      'BOOTSTRAP_INVALID_LIFETIME',
      'a certificate lifetime must be above 0 and at most 100 years',
    )
  }
  if (now >= latest) throw new BootstrapError('BOOTSTRAP_INVALID_LIFETIME', 'the replication CA has expired')
  // X.509 times have whole seconds.
  const seconds = (time: number) => new Date(Math.floor(time / 1000) * 1000)
  return { notBefore: seconds(now - CLOCK_SKEW_MS), notAfter: seconds(Math.min(now + lifetime, latest)) }
}

/** 127 random bits; the top bit stays clear because a serial number is a positive integer (RFC 5280 4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x7f) | 0x40
  return bytes.toString('hex')
}

async function issued(
  certificate: X509Certificate,
  privateKey: webcrypto.CryptoKey,
  period: { notBefore: Date; notAfter: Date },
): Promise<IssuedCertificate> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', privateKey))
  const privateKeyPem = `-----BEGIN PRIVATE KEY-----\n${der.toString('base64').replace(/.{1,64}/g, '$&\n')}-----END PRIVATE KEY-----\n`
  der.fill(0)
  const certificatePem = `${certificate.toString('pem').trimEnd()}\n`
  return {
    certificatePem,
    privateKeyPem,
    fingerprint: fingerprint(certificatePem),
    notBefore: period.notBefore.getTime(),
    notAfter: period.notAfter.getTime(),
  }
}
