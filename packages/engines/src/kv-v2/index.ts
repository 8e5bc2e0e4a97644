/**
 * Versioned key/value secrets. Storage layout: key-record.ts and `config`.
 */
import { type BackendFactory, pathBackend } from '@lockstep/backend'
import { configPath, mountConfigStore } from './config.ts'
import { dataPath } from './path-data.ts'
import { invalidPaths } from './path-invalid.ts'
import { metadataPath } from './path-metadata.ts'
import { subkeysPath } from './path-subkeys.ts'
import { versionPaths } from './path-versions.ts'

/** `kv` version 2. */
export function kvV2Engine(): BackendFactory {
  return (context) => {
    const configs = mountConfigStore(context.storage)
    return pathBackend({
      type: 'kv',
      paths: [
        configPath(configs),
        dataPath(configs, context.now),
        ...versionPaths(context.now),
        metadataPath(context.now),
        subkeysPath(context.now),
        ...invalidPaths(),
      ],
      invalidate: (key) => configs.invalidate(key),
    })
  }
}
