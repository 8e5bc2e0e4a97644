import { type BackendStorage, field, type Path, path, readJson, storedCache, writeJson } from '@lockstep/backend'
import { refuse } from './transit-key.ts'

/** Settings of the whole mount. */
export interface TransitSettings {
  upsertDisabled(): Promise<boolean>
  paths: Path[]
  invalidate(key: string): void
}

interface KeysConfig {
  disableUpsert: boolean
}

const keysKey = 'config/keys'
const cacheKey = 'config/cache'

/** Keys held in memory at most; `cache-config` takes effect when the mount is loaded again. */
export async function cacheLimit(storage: BackendStorage): Promise<number> {
  return (await cacheSize(storage)) || 10_000
}

async function cacheSize(storage: BackendStorage): Promise<number> {
  return (await readJson<{ size: number }>(storage, cacheKey))?.size ?? 0
}

export function transitSettings(storage: BackendStorage): TransitSettings {
  const cache = storedCache<KeysConfig>()
  const load = async () => (await readJson<KeysConfig>(storage, keysKey)) ?? { disableUpsert: false }
  const keysConfig = async () => (await cache.get(keysKey, load)) as KeysConfig
  const keysAnswer = async () => ({ data: { disable_upsert: (await keysConfig()).disableUpsert } })
  return {
    upsertDisabled: async () => (await keysConfig()).disableUpsert,
    invalidate(key) {
      if (key === keysKey) cache.invalidate(key)
    },
    paths: [
      path('config/keys', {
        help: 'Settings of the mount for all keys.',
        fields: { disable_upsert: field.bool({ description: 'Whether encrypt refuses to create keys.' }) },
        operations: {
          read: keysAnswer,
          async update(request) {
            const { disable_upsert } = request.field
            if (disable_upsert !== undefined) {
              await storage.transaction((transaction) =>
                writeJson(transaction, keysKey, { disableUpsert: disable_upsert }),
              )
              cache.invalidate(keysKey)
            }
            return keysAnswer()
          },
        },
      }),
      path('cache-config', {
        help: 'Size of the key cache; takes effect when the mount is loaded again.',
        fields: { size: field.int({ default: 0, description: 'Keys; 0 = the default of 10 000.' }) },
        operations: {
          read: async () => ({ data: { size: await cacheSize(storage) } }),
          async update(request) {
            const { size } = request.field
            if (size !== 0 && size < 10) refuse('size must be 0 or a value greater or equal to 10')
            await storage.transaction((transaction) => writeJson(transaction, cacheKey, { size }))
            return { data: { size } }
          },
        },
      }),
    ],
  }
}
