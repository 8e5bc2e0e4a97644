/**
 * What an active node publishes with the leader lock: JSON an operator can read, authenticated by a key behind the barrier, so that who
 * can write to the storage cannot send clients and their tokens elsewhere.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'

export interface Advertisement {
  /** URL clients reach the active node at; "" when it is not configured. */
  apiAddress: string
  /** Where it takes forwarded requests; "" when it takes none. */
  clusterAddress: string
  /** Of leading: one node's, from taking the lead to losing it. */
  term: string
  /** Fingerprint of the CA its certificate and the standbys' are of. */
  ca: string
  /** ms since the epoch. */
  activeSince: number
}

const LABEL = 'lockstep leader advertisement v1\n'
const MAX_LENGTH = 8192

export function encodeAdvertisement(advertisement: Advertisement, key: Uint8Array): string {
  const body = {
    api_address: advertisement.apiAddress,
    cluster_address: advertisement.clusterAddress,
    term: advertisement.term,
    ca: advertisement.ca,
    active_since: advertisement.activeSince,
  }
  return JSON.stringify({ ...body, mac: mac(advertisement, key).toString('base64') })
}

/** Undefined for what is none. Nothing in it may be used but `ca`, until `isAuthentic` has said so. */
export function parseAdvertisement(text: string): { claimed: Advertisement; mac: Buffer } | undefined {
  if (text.length > MAX_LENGTH) return undefined
  let fields: Record<string, unknown>
  try {
    fields = JSON.parse(text) as Record<string, unknown>
  } catch {
    return undefined
  }
  const { api_address, cluster_address, term, ca, active_since, mac: tag } = fields ?? {}
  const texts = [api_address, cluster_address, term, ca, tag]
  if (!texts.every((value) => typeof value === 'string') || typeof active_since !== 'number') return undefined
  const [apiAddress, clusterAddress, ...rest] = texts as [string, string, string, string, string]
  const claimed = { apiAddress, clusterAddress, term: rest[0], ca: rest[1], activeSince: active_since }
  return { claimed, mac: Buffer.from(rest[2], 'base64') }
}

export function isAuthentic({ claimed, mac: tag }: { claimed: Advertisement; mac: Buffer }, key: Uint8Array): boolean {
  const own = mac(claimed, key)
  return own.length === tag.length && timingSafeEqual(own, tag)
}

function mac({ apiAddress, clusterAddress, term, ca, activeSince }: Advertisement, key: Uint8Array): Buffer {
  const text = JSON.stringify([apiAddress, clusterAddress, term, ca, activeSince])
  return createHmac('sha256', key).update(LABEL).update(text).digest()
}
