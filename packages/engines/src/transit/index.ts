/**
 * Encryption as a service: keys stay here, clients send data. Storage layout: key-store.ts, `config/keys`, `config/cache`.
 */
import { type BackendFactory, pathBackend } from '@lockstep/backend'
import { keyStore } from './key-store.ts'
import { datakeyPath } from './path-datakey.ts'
import { decryptPath, rewrapPath } from './path-decrypt.ts'
import { encryptPath } from './path-encrypt.ts'
import { keyConfigPaths } from './path-key-config.ts'
import { keyPaths } from './path-keys.ts'
import { cacheLimit, transitSettings } from './path-settings.ts'

/** `transit`. */
export function transitEngine(): BackendFactory {
  return async (context) => {
    const keys = keyStore(context.storage, context.now, await cacheLimit(context.storage))
    const settings = transitSettings(context.storage)
    return pathBackend({
      type: 'transit',
      paths: [
        ...keyPaths(keys),
        ...keyConfigPaths(keys),
        encryptPath(keys, settings),
        decryptPath(keys),
        rewrapPath(keys),
        datakeyPath(keys),
        ...settings.paths,
      ],
      invalidate(key) {
        keys.invalidate(key)
        settings.invalidate(key)
      },
    })
  }
}
