import { BackendError } from '@lockstep/backend'
import type { Store } from '@lockstep/storage'
import type { Clock, LeaseManager, Log, TokenStore } from '../../contracts.ts'

export interface TokenBackendComponents {
  /** View of `sys/token/`: roles live at `roles/<name>` (class replicated). */
  storage: Store
  tokens: TokenStore
  leases: Pick<LeaseManager, 'renewToken' | 'tokenLease'>
  clock: Clock
  log: Log
  /** The effective TTLs of auth/token/, seconds. */
  mountTtl(): { default: number; max: number }
  policyExists(name: string): Promise<boolean> | boolean
}

export function invalidRequest(message: string): BackendError {
  return new BackendError('BACKEND_INVALID_REQUEST', message)
}
