import {
  BackendError,
  type BackendStorage,
  field,
  formatDuration,
  type Path,
  path,
  readJson,
  storedCache,
  writeJson,
} from '@lockstep/backend'

/** The mount's defaults, stored as `config`. */
export interface MountConfig {
  /** 0 = 10. */
  maxVersions: number
  casRequired: boolean
  /** Seconds; 0 = unset, negative = never, whatever a key says. */
  deleteVersionAfter: number
}

export interface MountConfigStore {
  get(): Promise<MountConfig> | MountConfig
  update(change: Partial<MountConfig>): Promise<void>
  invalidate(key: string): void
}

const configKey = 'config'
const unset: MountConfig = { maxVersions: 0, casRequired: false, deleteVersionAfter: 0 }

export function mountConfigStore(storage: BackendStorage): MountConfigStore {
  const cache = storedCache<MountConfig>()
  const load = async () => (await readJson<MountConfig>(storage, configKey)) ?? unset
  return {
    get: () => cache.peek(configKey) ?? (cache.get(configKey, load) as Promise<MountConfig>),
    async update(change) {
      await storage.transaction(async (transaction) => {
        const config = (await readJson<MountConfig>(transaction, configKey)) ?? unset
        await writeJson(transaction, configKey, { ...config, ...change })
      })
      cache.invalidate(configKey)
    },
    invalidate(key) {
      if (key === configKey) cache.invalidate(key)
    },
  }
}

export function configPath(configs: MountConfigStore): Path {
  return path('config', {
    help: 'Defaults of the mount for all its keys.',
    fields: {
      max_versions: field.int({ description: 'Versions kept per key; 0 = 10.' }),
      cas_required: field.bool({ description: 'Whether every write must carry options.cas.' }),
      delete_version_after: field.signedDuration({
        description: 'Age at which new versions are deleted; 0 = never, negative = never and keys cannot override.',
      }),
    },
    operations: {
      async read() {
        const config = await configs.get()
        return {
          data: {
            cas_required: config.casRequired,
            delete_version_after: formatDuration(config.deleteVersionAfter),
            max_versions: config.maxVersions,
          },
        }
      },
      async update(request) {
        const { max_versions, cas_required, delete_version_after } = request.field
        checkMaxVersions(max_versions)
        const change = {
          ...(max_versions !== undefined && { maxVersions: max_versions }),
          ...(cas_required !== undefined && { casRequired: cas_required }),
          ...(delete_version_after !== undefined && { deleteVersionAfter: delete_version_after }),
        }
        if (Object.keys(change).length > 0) await configs.update(change)
        return undefined
      },
    },
  })
}

export function checkMaxVersions(count: number | undefined): void {
  if (count !== undefined && count < 0) {
    throw new BackendError('BACKEND_INVALID_REQUEST', 'max_versions cannot be negative')
  }
}
