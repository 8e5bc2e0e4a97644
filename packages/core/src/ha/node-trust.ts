/**
 * The root of trust of a cluster's own nodes. The first active node makes it; it stays behind the barrier and is never shipped (class
 * `ignored`), so whoever can use it holds the cluster's keys.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { readJson, writeJson } from '@lockstep/backend'
import { createNodeCa, fingerprint, type NodeCa } from '@lockstep/bootstrap'
import type { Reader, Store } from '@lockstep/storage'

const KEY = 'core/cluster/local/nodes'
const YEAR_MS = 365.25 * 24 * 3_600_000

interface NodeTrustRecord {
  ca: NodeCa
  /** base64 */
  advertisementKey: string
}

export interface NodeTrust {
  ca: NodeCa
  /** Of the CA's certificate. */
  fingerprint: string
  /** Authenticates what the active node publishes with the leader lock. */
  advertisementKey: Uint8Array
}

/** Undefined until a node has led. Rejects when the keys held do not open it. */
export async function readNodeTrust(barrier: Pick<Reader, 'get'>): Promise<NodeTrust | undefined> {
  const record = await readJson<NodeTrustRecord>(barrier, KEY)
  if (record === undefined) return undefined
  return {
    ca: record.ca,
    fingerprint: fingerprint(record.ca.certificatePem),
    advertisementKey: Buffer.from(record.advertisementKey, 'base64'),
  }
}

/** As stored, or made anew and stored when there is none or its end is less than a year away. For the active node. */
export async function ensureNodeTrust(barrier: Store, now: number): Promise<NodeTrust> {
  const stored = await readNodeTrust(barrier)
  if (stored !== undefined && stored.ca.notAfter - now > YEAR_MS) return stored
  const { certificatePem, privateKeyPem, notAfter } = await createNodeCa({ id: randomUUID(), now })
  const record: NodeTrustRecord = {
    ca: { certificatePem, privateKeyPem, notAfter },
    advertisementKey: randomBytes(32).toString('base64'),
  }
  await writeJson(barrier, KEY, record)
  return (await readNodeTrust(barrier))!
}
