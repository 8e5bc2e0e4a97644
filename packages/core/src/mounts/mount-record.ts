import { jsonText, stringifyJson } from '@lockstep/backend'
import type { MountEntry } from '../contracts.ts'
import type { Table } from './mount-path.ts'

/** Where records live: one key per mount, so that storage class and paths filter apply mount by mount. */
const folders = {
  secret: { shared: 'core/mounts/', local: 'core/local-mounts/', data: 'logical/' },
  auth: { shared: 'core/auth/', local: 'core/local-auth/', data: 'auth/' },
} as const

export const recordFolders: readonly string[] = [
  folders.secret.shared,
  folders.secret.local,
  folders.auth.shared,
  folders.auth.local,
]

/** The stored form of a mount. */
export interface MountRecord extends MountEntry {
  format: 1
}

export function recordKey(entry: MountEntry): string {
  return (entry.local ? folders[entry.table].local : folders[entry.table].shared) + entry.uuid
}

/** Where the mount's data lives, with a trailing slash. sys/ and auth/token/ keep theirs where the core looks for it. */
export function dataPrefix(entry: MountEntry): string {
  if (entry.type === 'system') return 'sys/'
  if (entry.type === 'token') return 'sys/token/'
  return `${folders[entry.table].data}${entry.uuid}/`
}

/** What a barrier key says about mounts, or undefined when it is none of theirs. */
export function parseKey(
  key: string,
): { kind: 'record'; uuid: string; table: Table } | { kind: 'data'; uuid: string; rest: string } | undefined {
  for (const table of ['secret', 'auth'] as const) {
    for (const folder of [folders[table].shared, folders[table].local]) {
      if (key.startsWith(folder)) return { kind: 'record', uuid: key.slice(folder.length), table }
    }
    const data = folders[table].data
    if (key.startsWith(data)) {
      const slash = key.indexOf('/', data.length)
      if (slash !== -1) return { kind: 'data', uuid: key.slice(data.length, slash), rest: key.slice(slash + 1) }
    }
  }
  return undefined
}

export function encodeRecord(entry: MountEntry): Uint8Array {
  const record: MountRecord = { format: 1, ...entry }
  return Buffer.from(stringifyJson(record))
}

/** @throws Error when the bytes are no mount record. */
export function decodeRecord(bytes: Uint8Array): MountEntry {
  const { format, ...entry } = JSON.parse(jsonText(bytes)) as MountRecord
  if (format !== 1) throw new Error(`unknown mount record format ${String(format)}`)
  return entry
}
