/**
 * Certificates of the nodes of one cluster, by which standbys and the active node know each other. A root of trust of its own: no
 * replication certificate opens a connection between nodes, nor the other way round.
 */
import { checkClusterId, checkSecondaryId } from './ids.ts'
import { type IssuedCertificate, issue, selfSigned, type Validity } from './issue.ts'

/** What of a CA it takes to issue. */
export type NodeCa = Pick<IssuedCertificate, 'certificatePem' | 'privateKeyPem' | 'notAfter'>

/** A self-signed CA named `node-ca-<id>`, path length 0. `id`: as a cluster id, at most 43 characters. */
export async function createNodeCa(options: { id: string } & Validity): Promise<IssuedCertificate> {
  return selfSigned(`node-ca-${checkClusterId(options.id)}`, options)
}

/** A server certificate for one term of leading; its only name is `activeNodeName(term)`. */
export async function issueActiveNode(ca: NodeCa, options: { term: string } & Validity): Promise<IssuedCertificate> {
  return issue(ca, activeNodeName(options.term), 'serverAuth', options)
}

/** A client certificate: CN and DNS name are the standby's id, extended key usage clientAuth only. */
export async function issueStandby(ca: NodeCa, options: { id: string } & Validity): Promise<IssuedCertificate> {
  return issue(ca, checkSecondaryId(options.id), 'clientAuth', options)
}

/**
 * The name in an active node's certificate. It is another one for each term of leading, so that a node that led before is not taken
 * for the one that leads now.
 */
export function activeNodeName(term: string): string {
  return `${checkClusterId(term)}.active.lockstep`
}
