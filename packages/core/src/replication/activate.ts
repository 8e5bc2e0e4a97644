/** From a secondary activation token to what a new secondary needs, before anything of its own is touched. */
import { type ActivationPackage, parseActivationPackage, readActivationToken } from '@lockstep/bootstrap'
import { CoreError } from '../contracts.ts'
import { BOOTSTRAP, type BootstrapReply, parseBootstrapReply } from './bootstrap-reply.ts'
import { callOnce } from './call-once.ts'
import { dialPrimary } from './dial-primary.ts'
import type { EnableSecondaryInput } from './manager.ts'
import type { EndCredentials, ReplicationKind } from './role-records.ts'
import { unwrapActivation } from './unwrap-activation.ts'

const DIAL_TIMEOUT_MS = 15_000

export interface Activation {
  package: ActivationPackage
  /** Where the token was redeemed. */
  primaryApiAddr: string
  credentials: EndCredentials
}

/** Spends the token. Rejects with CORE_INVALID_REQUEST naming the cause. */
export async function redeemToken(
  kind: ReplicationKind,
  input: EnableSecondaryInput,
  now: number,
): Promise<Activation> {
  const claims = asInvalid('error parsing secondary activation token', () =>
    readActivationToken(input.token, now, { addrOptional: input.primaryApiAddr !== '' }),
  )
  const primaryApiAddr = input.primaryApiAddr === '' ? claims.addr : input.primaryApiAddr
  const data = await unwrapActivation({
    address: primaryApiAddr,
    token: input.token,
    caFile: input.caFile,
    caPath: input.caPath,
  })
  const activation = asInvalid('error reading secondary activation package', () => parseActivationPackage(data))
  if (activation.kind !== kind) {
    throw new CoreError('CORE_INVALID_REQUEST', `token: it activates a ${activation.kind} secondary, not a ${kind} one`)
  }
  const { caCertificate, clientCertificate, clientKey } = activation
  return {
    package: activation,
    primaryApiAddr,
    credentials: { caCertificate, certificate: clientCertificate, privateKey: clientKey },
  }
}

/** Fetches keyring and operators' key over mutual TLS. Rejects with CORE_INVALID_REQUEST naming the cause. */
export async function fetchBootstrap({
  package: { kind, clusterId, primaryClusterAddr },
  credentials,
}: Activation): Promise<BootstrapReply> {
  const signal = AbortSignal.timeout(DIAL_TIMEOUT_MS)
  try {
    const link = await dialPrimary(kind, clusterId, [primaryClusterAddr], credentials, signal)
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

function asInvalid<T>(what: string, body: () => T): T {
  try {
    return body()
  } catch (cause) {
    throw new CoreError('CORE_INVALID_REQUEST', `${what}: ${(cause as Error).message}`, { cause })
  }
}
