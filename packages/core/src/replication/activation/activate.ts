/** From a secondary activation token to what a new secondary needs, before anything of its own is touched. */
import {
  type ActivationPackage,
  isSealedActivation,
  openActivation,
  parseActivationPackage,
  readActivationToken,
} from '@lockstep/bootstrap'
import { CoreError } from '../../contracts.ts'
import { callOnce } from '../call-once.ts'
import { dialPrimary } from '../dial-primary.ts'
import type { EnableSecondaryInput } from '../manager.ts'
import type { EndCredentials, ReplicationKind } from '../role-records.ts'
import type { ActivationKeys } from './activation-keys.ts'
import { BOOTSTRAP, type BootstrapReply, parseBootstrapReply } from './bootstrap-reply.ts'
import { unwrapActivation } from './unwrap-activation.ts'

const DIAL_TIMEOUT_MS = 20_000

export interface Activation {
  package: ActivationPackage
  /** Where the token was redeemed; "" when that needed no API. */
  primaryApiAddr: string
  credentials: EndCredentials
}

/**
 * A wrapping token is unwrapped, and thereby spent, at the primary's API; a sealed activation is opened here with the key this
 * cluster generated, and spent when the primary hands out its keyring for it. Rejects with CORE_INVALID_REQUEST naming the cause.
 */
export async function redeemToken(
  kind: ReplicationKind,
  input: EnableSecondaryInput,
  now: number,
  keys: Pick<ActivationKeys, 'privateKey'>,
): Promise<Activation> {
  const activation = isSealedActivation(input.token)
    ? { package: await openSealed(kind, input.token, now, keys), primaryApiAddr: input.primaryApiAddr }
    : await unwrapToken(kind, input, now)
  const { caCertificate, clientCertificate, clientKey } = activation.package
  return {
    ...activation,
    credentials: { caCertificate, certificate: clientCertificate, privateKey: clientKey },
  }
}

async function openSealed(
  kind: ReplicationKind,
  token: string,
  now: number,
  keys: Pick<ActivationKeys, 'privateKey'>,
): Promise<ActivationPackage> {
  const privateKey = await keys.privateKey(kind)
  return openActivation(token, { privateKey, kind, now }).catch((error: Error) => {
    throw new CoreError('CORE_INVALID_REQUEST', `token: ${error.message}`, { cause: error })
  })
}

async function unwrapToken(
  kind: ReplicationKind,
  input: EnableSecondaryInput,
  now: number,
): Promise<Omit<Activation, 'credentials'>> {
  const claims = asInvalid('error parsing secondary activation token', () =>
    readActivationToken(input.token, now, { addrOptional: input.primaryApiAddr !== '' }),
  )
  const primaryApiAddr = input.primaryApiAddr === '' ? claims.addr : input.primaryApiAddr
  const data = await unwrapActivation({
    address: primaryApiAddr,
    token: input.token,
    caFile: input.caFile,
    caPath: input.caPath,
    clientCertPem: input.clientCertPem,
    clientKeyPem: input.clientKeyPem,
  })
  const activation = asInvalid('error reading secondary activation package', () => parseActivationPackage(data))
  if (activation.kind !== kind) {
    throw new CoreError('CORE_INVALID_REQUEST', `token: it activates a ${activation.kind} secondary, not a ${kind} one`)
  }
  return { package: activation, primaryApiAddr }
}

/** Fetches keyring and operators' key over mutual TLS. Rejects with CORE_INVALID_REQUEST naming the cause. */
export async function fetchBootstrap({ package: activation, credentials }: Activation): Promise<BootstrapReply> {
  const { kind, clusterId, primaryClusterAddr } = activation
  const signal = AbortSignal.timeout(DIAL_TIMEOUT_MS)
  try {
    const link = await dialPrimary(kind, clusterId, clusterAddresses(activation), credentials, { signal })
    try {
      const reply = parseBootstrapReply(await callOnce(link, BOOTSTRAP, {}, signal))
      if (reply.clusterId !== clusterId) throw new Error('the primary belongs to another replication set')
      return reply
    } finally {
      link.close('bootstrap is done')
    }
  } catch (error) {
    if (error instanceof CoreError) throw error
    const text = `error fetching secondary bootstrap package: ${primaryClusterAddr}: ${(error as Error).message}`
    throw new CoreError('CORE_INVALID_REQUEST', text, { cause: error })
  }
}

/** Of the primary's nodes: a standby refuses, and the next one is tried. */
export function clusterAddresses({ primaryClusterAddr, otherClusterAddrs = [] }: ActivationPackage): string[] {
  return [primaryClusterAddr, ...otherClusterAddrs]
}

function asInvalid<T>(what: string, body: () => T): T {
  try {
    return body()
  } catch (cause) {
    throw new CoreError('CORE_INVALID_REQUEST', `${what}: ${(cause as Error).message}`, { cause })
  }
}
