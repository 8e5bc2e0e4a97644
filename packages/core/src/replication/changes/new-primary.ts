import { createReplicationCa, issuePrimaryServer } from '@lockstep/bootstrap'
import type { PrimaryRecord } from '../role-records.ts'

/** A primary with a root of trust of its own: whoever followed before needs an activation token for it. `now` in ms. */
export async function newPrimary(clusterId: string, primaryClusterAddr: string, now: number): Promise<PrimaryRecord> {
  const ca = await createReplicationCa({ clusterId, now })
  const server = await issuePrimaryServer(ca, { now })
  const { certificatePem: certificate, privateKeyPem: privateKey } = server
  return {
    mode: 'primary',
    clusterId,
    primaryClusterAddr,
    ca,
    server: { caCertificate: ca.certificatePem, certificate, privateKey },
    enabledAt: now,
  }
}
