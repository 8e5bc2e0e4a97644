/**
 * What a secondary receives when it unwraps its activation token: everything it needs to dial the primary's cluster port,
 * and nothing that would let it act for anyone else. The CA's private key is never part of it.
 */
import { createPrivateKey } from 'node:crypto'
import { BootstrapError } from './errors.ts'
import { checkClusterId, checkSecondaryId } from './ids.ts'
import { commonName, readCertificate } from './peer.ts'

export interface ActivationPackage {
  /** The secondary's id, as given to `secondary-token`. */
  id: string
  /** Id of the replication set, equal on both ends. */
  clusterId: string
  /** PEM. */
  caCertificate: string
  /** PEM. */
  clientCertificate: string
  /** PKCS#8 PEM. */
  clientKey: string
  /** `https://host:port` or `host:port` of the primary's cluster listener. */
  primaryClusterAddr: string
  /** The same of the primary cluster's other nodes, of which any may lead when the token is used. Absent when there are none. */
  otherClusterAddrs?: string[]
  kind: 'performance' | 'dr'
}

const FIELDS = [
  'id',
  'clusterId',
  'caCertificate',
  'clientCertificate',
  'clientKey',
  'primaryClusterAddr',
  'kind',
] as const
const MAX_FIELD_LENGTH = 16 * 1024
/** More nodes than any cluster has. */
const MAX_OTHERS = 64
const MAX_ADDRESS_LENGTH = 300

/**
 * Accepts exactly these fields, and only when they belong together: the certificate is the CA's, bears the id, and
 * matches the key. Throws `BOOTSTRAP_INVALID_PACKAGE`.
 */
export function parseActivationPackage(input: unknown): ActivationPackage {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) throw invalid('it is not an object')
  const source = input as Record<string, unknown>
  for (const name of Object.keys(source)) {
    if (name !== 'otherClusterAddrs' && !(FIELDS as readonly string[]).includes(name))
      throw invalid('it has an unknown field')
  }
  const field = (name: (typeof FIELDS)[number]): string => {
    const value = Object.hasOwn(source, name) ? source[name] : undefined
    if (typeof value !== 'string' || value === '') throw invalid(`${name} is missing or not a string`)
    if (value.length > MAX_FIELD_LENGTH) throw invalid(`${name} is too long`)
    return value
  }
  const kind = field('kind')
  if (kind !== 'performance' && kind !== 'dr') throw invalid("kind is neither 'performance' nor 'dr'")
  const parsed: ActivationPackage = {
    id: field('id'),
    clusterId: field('clusterId'),
    caCertificate: field('caCertificate'),
    clientCertificate: field('clientCertificate'),
    clientKey: field('clientKey'),
    primaryClusterAddr: field('primaryClusterAddr'),
    ...(Object.hasOwn(source, 'otherClusterAddrs') ? { otherClusterAddrs: otherAddresses(source) } : {}),
    kind,
  }
  try {
    checkSecondaryId(parsed.id)
    checkClusterId(parsed.clusterId)
  } catch (error) {
    throw invalid((error as Error).message)
  }
  if (!isClusterAddress(parsed.primaryClusterAddr)) throw invalid('primaryClusterAddr is not host:port')
  checkCredentials(parsed)
  return parsed
}

function otherAddresses({ otherClusterAddrs: list }: { otherClusterAddrs?: unknown }): string[] {
  if (!Array.isArray(list) || list.length > MAX_OTHERS) throw invalid('otherClusterAddrs is not a short list')
  for (const address of list as unknown[]) {
    if (typeof address !== 'string' || address.length > MAX_ADDRESS_LENGTH || !isClusterAddress(address)) {
      throw invalid('otherClusterAddrs has something else than host:port')
    }
  }
  return list as string[]
}

function checkCredentials({ id, clusterId, caCertificate, clientCertificate, clientKey }: ActivationPackage): void {
  let ca: ReturnType<typeof readCertificate>
  let client: ReturnType<typeof readCertificate>
  try {
    ca = readCertificate(caCertificate)
    client = readCertificate(clientCertificate)
  } catch {
    throw invalid('a certificate cannot be read')
  }
  if (!ca.ca || commonName(ca) !== `rep-ca-${clusterId}` || !ca.verify(ca.publicKey)) {
    throw invalid('caCertificate is not the CA of this replication set')
  }
  if (!client.checkIssued(ca) || !client.verify(ca.publicKey)) throw invalid('clientCertificate is not from this CA')
  if (commonName(client) !== id) throw invalid('clientCertificate bears another id')
  let matches = false
  try {
    matches = client.checkPrivateKey(createPrivateKey(clientKey))
  } catch {
    // An unreadable key is a key that does not match.
  }
  if (!matches) throw invalid('clientKey does not belong to clientCertificate')
}

function isClusterAddress(address: string): boolean {
  try {
    const url = new URL(address.includes('://') ? address : `https://${address}`)
    const bare = url.username === '' && url.password === '' && url.search === '' && url.hash === ''
    return url.protocol === 'https:' && url.hostname !== '' && url.pathname === '/' && bare
  } catch {
    return false
  }
}

function invalid(why: string) {
  return new BootstrapError('BOOTSTRAP_INVALID_PACKAGE', `activation package refused: ${why}`)
}
