import { readJson, writeJson } from '@lockstep/backend'
import type { Store } from '@lockstep/storage'
import type { Clock } from '../contracts.ts'
import type { VersionRecord } from './components.ts'

const prefix = 'core/versions/'

/** Which versions have run on this cluster's storage. Records are of class `ignored`: each cluster has its own. */
export interface VersionHistory {
  /** Notes this version unless it has run here before. */
  record(version: string, buildDate: string): Promise<void>
  /** Oldest first. */
  list(): Promise<VersionRecord[]>
}

/** @param components.storage the whole barrier store. */
export function versionHistory({ storage, clock }: { storage: Store; clock: Clock }): VersionHistory {
  return {
    async record(version, buildDate) {
      const key = prefix + version
      if ((await storage.get(key)) !== undefined) return
      const record: VersionRecord = { version, installed: clock.now(), buildDate }
      await writeJson(storage, key, record)
    },
    async list() {
      const records: VersionRecord[] = []
      for await (const [key] of storage.scan({ prefix })) {
        const record = await readJson<VersionRecord>(storage, key)
        if (record !== undefined) records.push(record)
      }
      return records.sort((a, b) => a.installed - b.installed)
    },
  }
}
