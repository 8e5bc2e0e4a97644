/** Who may connect: certificates of the set's CA whose fingerprint is on the list. Leaving the list is revocation. */
import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto'
import { BootstrapError } from './errors.ts'

const MAX_CERTIFICATE_BYTES = 64 * 1024
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'

/** PEM text, DER bytes (`tls.PeerCertificate.raw`), or node's own object. */
export type CertificateInput = string | Uint8Array | X509Certificate

/** SHA-256 of the DER certificate, 64 lower-case hex digits. */
export function fingerprint(certificate: CertificateInput): string {
  return createHash('sha256').update(readCertificate(certificate).raw).digest('hex')
}

export function readCertificate(certificate: CertificateInput): X509Certificate {
  if (certificate instanceof X509Certificate) return certificate
  if (certificate.length > MAX_CERTIFICATE_BYTES) {
    throw new BootstrapError('BOOTSTRAP_INVALID_CERTIFICATE', 'certificate too large')
  }
  try {
    return new X509Certificate(certificate)
  } catch {
    throw new BootstrapError('BOOTSTRAP_INVALID_CERTIFICATE', 'not an X.509 certificate')
  }
}

export interface PeerPolicy {
  /** The replication set's CA. */
  ca: CertificateInput
  /** Fingerprints (64 hex digits) that may connect. A revoked secondary is simply no longer here. */
  allowed: Iterable<string>
  /** Milliseconds since the epoch. */
  now: number
  /** Default `client`: the peer is a secondary. */
  usage?: 'client' | 'server'
}

export interface VerifiedPeer {
  /** The certificate's common name: the secondary's id. */
  id: string
  fingerprint: string
}

/**
 * Checks issuer, signature, validity, extended key usage and the list, and tells who it is. Throws `BOOTSTRAP_PEER_REFUSED`.
 * Every listed fingerprint is compared in constant time and none is skipped, so timing tells nothing about the list.
 */
export function verifyPeer(peer: CertificateInput, policy: PeerPolicy): VerifiedPeer {
  const certificate = readCertificate(peer)
  const ca = readCertificate(policy.ca)
  const digest = createHash('sha256').update(certificate.raw).digest()
  let listed = 0
  for (const entry of policy.allowed) listed |= equals(digest, entry)
  if (certificate.ca || !certificate.checkIssued(ca) || !certificate.verify(ca.publicKey)) {
    throw refused('it was not issued by this replication set')
  }
  if (!listed) throw refused('it is unknown or revoked')
  const now = policy.now
  if (now < Date.parse(certificate.validFrom) || now > Date.parse(certificate.validTo)) {
    throw refused('it is outside its validity period')
  }
  const usage = policy.usage === 'server' ? SERVER_AUTH : CLIENT_AUTH
  if (!certificate.keyUsage?.includes(usage)) throw refused('its extended key usage is wrong')
  const id = commonName(certificate)
  if (id === undefined) throw refused('it has no single common name')
  return { id, fingerprint: digest.toString('hex') }
}

/** Node prints the subject one attribute a line; ids hold neither newline nor `=`, so anything else is refused. */
export function commonName(certificate: X509Certificate): string | undefined {
  return /^CN=([A-Za-z0-9._-]+)$/.exec(certificate.subject)?.[1]
}

function equals(digest: Buffer, hex: string): number {
  const other = Buffer.from(hex, 'hex')
  return other.length === digest.length && timingSafeEqual(other, digest) ? 1 : 0
}

function refused(why: string) {
  return new BootstrapError('BOOTSTRAP_PEER_REFUSED', `peer certificate refused: ${why}`)
}
