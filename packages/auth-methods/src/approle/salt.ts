import { createHmac, randomBytes } from 'node:crypto'
import { type BackendStorage, jsonText, storedCache, type Transaction } from '@lockstep/backend'

/** Hashes role ids and accessors for use in storage keys, so that keys disclose neither. */
export interface Salt {
  /** undefined while the mount has none: then nothing was ever stored under a salted name. */
  hash(value: string): Promise<string | undefined>
  /** Makes the salt if need be. */
  ensure(transaction: Transaction): Promise<(value: string) => string>
  invalidate(key: string): void
}

const saltKey = 'salt'

export function salt(storage: BackendStorage): Salt {
  const cache = storedCache<string>()
  const load = async () => {
    const bytes = await storage.get(saltKey)
    return bytes && jsonText(bytes)
  }
  return {
    async hash(value) {
      const stored = cache.peek(saltKey) ?? (await cache.get(saltKey, load))
      return stored === undefined ? undefined : hmac(stored, value)
    },
    async ensure(transaction) {
      const bytes = await transaction.get(saltKey)
      const stored = bytes === undefined ? randomBytes(32).toString('base64') : jsonText(bytes)
      if (bytes === undefined) await transaction.put(saltKey, Buffer.from(stored))
      return (value) => hmac(stored, value)
    },
    invalidate(key) {
      if (key === saltKey) cache.invalidate(key)
    },
  }
}

/** Hex HMAC-SHA256. */
export function hmac(key: string, value: string): string {
  return createHmac('sha256', key).update(value).digest('hex')
}
