/**
 * Encryption as a service: keys stay here, clients send data. Storage layout: key-store.ts, `config/keys`, `config/cache`.
 */
import { type BackendFactory, pathBackend } from '@lockstep/backend'
import { keyStore } from './key-store.ts'
import { backupPaths } from './path-backup.ts'
import { datakeyPath } from './path-datakey.ts'
import { decryptPath, rewrapPath } from './path-decrypt.ts'
import { encryptPath } from './path-encrypt.ts'
import { exportPaths } from './path-export.ts'
import { hashPaths } from './path-hash.ts'
import { hmacPaths } from './path-hmac.ts'
import { keyConfigPaths } from './path-key-config.ts'
import { keyPaths } from './path-keys.ts'
import { randomPaths } from './path-random.ts'
import { cacheLimit, transitSettings } from './path-settings.ts'
import { signPaths } from './path-sign.ts'
import { verifyPaths } from './path-verify.ts'
import { automaticRotation } from './rotation.ts'

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
        ...signPaths(keys),
        ...verifyPaths(keys),
        ...hmacPaths(keys),
        ...hashPaths(),
        ...randomPaths(),
        ...exportPaths(keys),
        ...backupPaths(keys, context.now),
        ...settings.paths,
      ],
      periodic: automaticRotation(keys, context.now),
      invalidate(key) {
        keys.invalidate(key)
        settings.invalidate(key)
      },
    })
  }
}
