import { primaryServerName } from '@lockstep/bootstrap'
import { ALPN, type DialOptions, dialCluster, TransportError } from '@lockstep/replication-transport'
import type { EndCredentials, ReplicationKind } from './role-records.ts'

/** Nodes of one cluster: all but one refuse, and a dead one must not hold up the search for that one. */
const PATIENCE = { connectMs: 1_000, acceptMs: 2_000, againMs: 500 }

export interface DialPrimaryOptions extends Pick<DialOptions, 'signal' | 'onTraffic' | 'onAccepted'> {
  /** Strictly one address after the other. Default false. */
  inOrder?: boolean
}

/** One link to the first address that answers with the right certificate. Rejects as `dialCluster` does. */
export async function dialPrimary(
  kind: ReplicationKind,
  clusterId: string,
  addresses: readonly string[],
  credentials: EndCredentials,
  { inOrder = false, ...options }: DialPrimaryOptions = {},
) {
  try {
    return await dialCluster({
      addresses,
      servername: primaryServerName(clusterId),
      alpn: ALPN[kind],
      ca: credentials.caCertificate,
      cert: credentials.certificate,
      key: credentials.privateKey,
      patience: inOrder ? undefined : PATIENCE,
      ...options,
    })
  } catch (error) {
    if (!(error instanceof TransportError) || addresses.length < 2) throw error
    const { code, message, cause } = error
    throw new TransportError(code, `no active node among ${addresses.length} addresses: ${message}`, { cause })
  }
}
