/** Issues the activation tokens of new secondaries. */
import { randomUUID } from 'node:crypto'
import { type ActivationPackage, issueSecondary, sealActivation } from '@lockstep/bootstrap'
import { type Clock, CoreError, type WrapInfo, type WrappingStore } from '../../contracts.ts'
import type { PrimaryRole } from '../primary-role.ts'
import type { FilterRecord, KnownSecondary, ReplicationKind, RoleRecords } from '../role-records.ts'

export interface SecondaryTokensComponents {
  records: RoleRecords
  wrapping: WrappingStore | undefined
  clock: Clock
  filter(id: string): FilterRecord | undefined
  apiAddress: string
  /** Of this cluster's nodes, that of the active one first. */
  clusterAddresses(): string[]
}

/** A wrapping token, or with a public key the package itself, encrypted to it. */
export type IssuedToken = { wrapInfo: WrapInfo } | { sealed: string }

export interface TokenInput {
  id: string
  /** Seconds. */
  ttl: number
  /** "" = none. */
  publicKey: string
}

export type IssueToken = (kind: ReplicationKind, role: PrimaryRole, input: TokenInput) => Promise<IssuedToken>

export function secondaryTokens(components: SecondaryTokensComponents): IssueToken {
  const { records, wrapping, clock, filter } = components
  /** Two requests for one id must not both find it free. */
  const issuing = new Set<string>()

  async function issue(kind: ReplicationKind, role: PrimaryRole, input: TokenInput): Promise<IssuedToken> {
    const { id, ttl, publicKey } = input
    const { record } = role
    const now = clock.now()
    const issued = await issueSecondary(record.ca, { id, now }).catch((error: Error) => {
      throw invalid(`id: ${error.message}`)
    })
    const [own, ...others] = components.clusterAddresses()
    const data: ActivationPackage = {
      id,
      kind,
      clusterId: record.clusterId,
      caCertificate: record.ca.certificatePem,
      clientCertificate: issued.certificatePem,
      clientKey: issued.privateKeyPem,
      primaryClusterAddr: record.primaryClusterAddr || own!,
      // Another node may lead by the time the token is used. An address that operators gave is one that leads to whichever does.
      ...(record.primaryClusterAddr !== '' || others.length === 0 ? {} : { otherClusterAddrs: others }),
    }
    const sealed = publicKey === '' ? undefined : await seal(publicKey, data, record.ca.privateKeyPem, ttl, now)
    const known: KnownSecondary = { id, fingerprint: issued.fingerprint, issuedAt: now }
    if (sealed !== undefined) known.sealedActivation = { expires: now + ttl * 1000, redeemed: false }
    await records.saveSecondary(kind, known)
    role.add(known, kind === 'performance' ? filter(id) : undefined)
    if (sealed !== undefined) return { sealed }
    try {
      const wrapInfo = await wrapping!.wrap({
        response: {
          request_id: randomUUID(),
          lease_id: '',
          renewable: false,
          lease_duration: 0,
          data,
          wrap_info: null,
          warnings: null,
          auth: null,
        },
        ttl,
        path: `sys/replication/${kind}/primary/secondary-token`,
        format: 'jwt',
        address: components.apiAddress,
      })
      return { wrapInfo }
    } catch (error) {
      // Nobody can ever use this certificate; the id must not stay taken.
      role.revoke(id)
      await records.removeSecondary(kind, id)
      throw error
    }
  }

  return async (kind, role, input) => {
    const { id } = input
    if (wrapping === undefined) throw invalid('this cluster issues no tokens')
    const taken = `${kind}/${id}`
    if (issuing.has(taken) || role.known().some((known) => known.id === id)) {
      throw invalid(`id: a secondary with the id ${JSON.stringify(id)} exists already; revoke it first`)
    }
    issuing.add(taken)
    try {
      return await issue(kind, role, input)
    } finally {
      issuing.delete(taken)
    }
  }
}

function seal(
  publicKey: string,
  activation: ActivationPackage,
  caPrivateKey: string,
  ttl: number,
  now: number,
): Promise<string> {
  return sealActivation({ publicKey, package: activation, caPrivateKey, ttl, now }).catch((error: Error) => {
    throw invalid(`secondary_public_key: ${error.message}`)
  })
}

function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
