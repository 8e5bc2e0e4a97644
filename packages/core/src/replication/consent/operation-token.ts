/** The DR operation token: proof, on a DR secondary that serves nothing else, that enough key holders agreed. It has no TTL. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Store } from '@lockstep/storage'
import { roleKeys } from '../role-records.ts'

const PREFIX = 'hvr.'

export interface OperationTokens {
  /** A new token; an earlier one stops working. Only its hash is stored. */
  issue(): Promise<string>
  check(token: string): Promise<boolean>
  delete(): Promise<void>
}

export function operationTokens(storage: Pick<Store, 'get' | 'put' | 'delete'>): OperationTokens {
  const hash = (token: string): Buffer =>
    createHash('sha256').update('lockstep dr operation token\0').update(token).digest()
  return {
    async issue() {
      const token = PREFIX + randomBytes(18).toString('base64url')
      await storage.put(roleKeys.operationToken, hash(token))
      return token
    },
    async check(token) {
      const stored = await storage.get(roleKeys.operationToken)
      const given = hash(token)
      return stored !== undefined && stored.length === given.length && timingSafeEqual(stored, given)
    },
    delete: () => storage.delete(roleKeys.operationToken),
  }
}
