import { primaryServerName } from '@lockstep/bootstrap'
import { ALPN, dialCluster, type LinkOptions } from '@lockstep/replication-transport'
import type { EndCredentials, ReplicationKind } from './role-records.ts'

/** One link to the first address that answers with the right certificate. */
export function dialPrimary(
  kind: ReplicationKind,
  clusterId: string,
  addresses: readonly string[],
  credentials: EndCredentials,
  signal?: AbortSignal,
  onTraffic?: LinkOptions['onTraffic'],
) {
  return dialCluster({
    addresses,
    servername: primaryServerName(clusterId),
    alpn: ALPN[kind],
    ca: credentials.caCertificate,
    cert: credentials.certificate,
    key: credentials.privateKey,
    signal,
    onTraffic,
  })
}
