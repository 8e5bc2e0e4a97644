/** The file of `lockstep operator migrate`: two storages, as in Vault's migrate.hcl. */
import { stat } from 'node:fs/promises'
import { ConfigError } from './config-error.ts'
import { readSections } from './files.ts'
import type { Section } from './section.ts'
import type { StorageConfig } from './server-config.ts'
import { readStorageBlock } from './storage-config.ts'

export interface MigrateConfig {
  source: StorageConfig
  destination: StorageConfig
}

export async function loadMigrateConfig(file: string): Promise<MigrateConfig> {
  const info = await stat(file).catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError(`${file}: cannot be read (${error.code})`)
  })
  if (info.isDirectory()) throw new ConfigError(`${file}: location is a directory, not a file`)
  const [root] = await readSections([file])
  // Of Vault's raft.
  root!.ignore('cluster_addr')
  const config = { source: readEnd(root!, 'storage_source'), destination: readEnd(root!, 'storage_destination') }
  for (const { where, key } of root!.unknown()) throw new ConfigError(`${where}: unknown key ${key}`)
  return config
}

function readEnd(root: Section, stanza: string): StorageConfig {
  const blocks = root.labelled(stanza)
  if (blocks.length !== 1) throw new ConfigError(`${root.where}: exactly one '${stanza}' block is required`)
  const { label, section } = blocks[0]!
  // Without the environment: its variables would speak of both storages.
  const storage = readStorageBlock(label, section, {})
  if (storage.type === 'inmem')
    throw new ConfigError(`${section.where}: inmem ends with its process, nothing can be migrated`)
  return storage
}
