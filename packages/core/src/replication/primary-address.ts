/** Addresses of a primary's cluster port: checked, and tried out. */
import { parseAddress } from '@lockstep/replication-transport'
import { CoreError } from '../contracts.ts'
import { dialPrimary } from './dial-primary.ts'
import type { EndCredentials, ReplicationKind } from './role-records.ts'

/** More nodes than any cluster has. */
const MAX_ADDRESSES = 64
const DIAL_TIMEOUT_MS = 15_000

/** Those that can be dialled at all, each once; what a primary tells of itself is not trusted to be well-formed. */
export function dialable(addresses: readonly string[]): string[] {
  return [...new Set(addresses)].filter(isAddress).slice(0, MAX_ADDRESSES)
}

function isAddress(address: string): boolean {
  try {
    parseAddress(address)
    return true
  } catch {
    return false
  }
}

/** The first address at which the replication set's primary answers. Rejects with CORE_INVALID_REQUEST naming each one's cause. */
export async function answeringAddress(
  kind: ReplicationKind,
  clusterId: string,
  addresses: readonly string[],
  credentials: EndCredentials,
): Promise<string> {
  const field = 'update_primary_addrs'
  if (addresses.length > MAX_ADDRESSES) throw invalid(`${field}: expected at most ${MAX_ADDRESSES} addresses`)
  const malformed = addresses.find((address) => !isAddress(address))
  if (malformed !== undefined) throw invalid(`${field}: ${JSON.stringify(malformed)} is not host:port`)
  const signal = AbortSignal.timeout(DIAL_TIMEOUT_MS)
  const causes: string[] = []
  for (const address of addresses) {
    try {
      const link = await dialPrimary(kind, clusterId, [address], credentials, signal)
      link.close('the address answers')
      return address
    } catch (error) {
      causes.push((error as Error).message)
    }
  }
  throw invalid(`${field}: no primary answers: ${causes.join('; ')}`)
}

function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
