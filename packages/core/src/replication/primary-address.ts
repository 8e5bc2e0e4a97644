/** Addresses that an operator gives of a primary's cluster port: checked, and tried out. */
import { CoreError } from '../contracts.ts'
import { dialPrimary } from './dial-primary.ts'
import { isAddress, MAX_ADDRESSES } from './resolver/address-book.ts'
import type { EndCredentials, ReplicationKind } from './role-records.ts'

const DIAL_TIMEOUT_MS = 20_000

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
  let answering = ''
  const onAccepted = (address: string): void => {
    answering = address
  }
  const signal = AbortSignal.timeout(DIAL_TIMEOUT_MS)
  try {
    const link = await dialPrimary(kind, clusterId, addresses, credentials, { signal, onAccepted })
    link.close('the address answers')
    return answering
  } catch (error) {
    throw invalid(`${field}: no primary answers: ${(error as Error).message}`)
  }
}

function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
