import { createReplicationCa, issuePrimaryServer, issueSecondary, primaryServerName } from '@lockstep/bootstrap'

/** One replication set: its authority, its listener's certificate, and a way to make clients. */
export async function replicationSet(clusterId: string) {
  const now = Date.now()
  const ca = await createReplicationCa({ clusterId, now })
  const server = await issuePrimaryServer(ca, { now })
  return {
    ca: ca.certificatePem,
    servername: primaryServerName(clusterId),
    server: { cert: server.certificatePem, key: server.privateKeyPem },
    async client(id: string, validity: { now: number; lifetime?: number } = { now }) {
      const issued = await issueSecondary(ca, { id, ...validity })
      return { cert: issued.certificatePem, key: issued.privateKeyPem }
    },
    async otherServer(validity: { now: number; lifetime?: number }) {
      const issued = await issuePrimaryServer(ca, validity)
      return { cert: issued.certificatePem, key: issued.privateKeyPem }
    },
  }
}

export type ReplicationSet = Awaited<ReturnType<typeof replicationSet>>
