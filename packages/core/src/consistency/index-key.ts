/** The key of `X-Vault-Index`, the same on all clusters of a replication set: it is stored as replicated data. */
import type { Store } from '@lockstep/storage'
import type { Log } from '../contracts.ts'

export const INDEX_KEY_PATH = 'core/index-header-hmac-key'
const KEY_BYTES = 32

export interface IndexKey {
  /** Undefined on a secondary that has not received it yet. */
  current(): Uint8Array | undefined
  /** Reads it, and makes it where there is none and it may be made. */
  load(options: { make: boolean }): Promise<void>
  /** Replication changed it. */
  invalidate(): Promise<void>
}

export interface IndexKeyComponents {
  storage: Pick<Store, 'get' | 'put'>
  random(bytes: number): Uint8Array
  log: Pick<Log, 'warn'>
}

export function indexKey({ storage, random, log }: IndexKeyComponents): IndexKey {
  let key: Uint8Array | undefined

  async function read(): Promise<void> {
    const stored = await storage.get(INDEX_KEY_PATH)
    if (stored !== undefined && stored.length !== KEY_BYTES) {
      log.warn('the stored key of X-Vault-Index is damaged, the header is not used', { path: INDEX_KEY_PATH })
    }
    key = stored?.length === KEY_BYTES ? stored : undefined
  }

  return {
    current: () => key,
    async load({ make }) {
      await read()
      if (key !== undefined || !make) return
      const made = random(KEY_BYTES)
      await storage.put(INDEX_KEY_PATH, made)
      key = made
    },
    invalidate: read,
  }
}
