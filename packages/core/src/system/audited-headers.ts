import { field, type Path, path, readJson, writeJson } from '@lockstep/backend'
import type { Store } from '@lockstep/storage'
import type { Log } from '../contracts.ts'
import { refused } from './mount-input.ts'

const prefix = 'sys/config/audited-headers/'
const headerName = /^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$/

/** The request headers that audit devices log, one record each; set by sys/config/auditing/request-headers. */
export interface AuditedHeaders {
  /** By lower-case name; for the audit broker. The map must not be changed. */
  current(): ReadonlyMap<string, { hmac: boolean }>
  load(): Promise<void>
  set(name: string, hmac: boolean): Promise<void>
  delete(name: string): Promise<void>
  /** `key`: a barrier key below `sys/config/audited-headers/` that replication changed. */
  invalidate(key: string): Promise<void>
}

/** @param components.storage the whole barrier store. */
export function auditedHeaders({ storage, log }: { storage: Store; log: Log }): AuditedHeaders {
  const headers = new Map<string, { hmac: boolean }>()

  async function reload(key: string): Promise<void> {
    const name = key.slice(prefix.length)
    try {
      const record = await readJson<{ hmac: boolean }>(storage, key)
      if (record === undefined) headers.delete(name)
      else headers.set(name, { hmac: record.hmac === true })
    } catch (error) {
      log.error('a record of an audited header is unreadable', { key, error: String(error) })
    }
  }

  return {
    current: () => headers,
    async load() {
      headers.clear()
      for await (const [key] of storage.scan({ prefix })) await reload(key)
    },
    async set(name, hmac) {
      await writeJson(storage, prefix + name, { hmac })
      headers.set(name, { hmac })
    },
    async delete(name) {
      await storage.delete(prefix + name)
      headers.delete(name)
    },
    invalidate: reload,
  }
}

export function auditedHeaderPaths(headers: AuditedHeaders): Path[] {
  const known = (raw: string): string => {
    const name = raw.toLowerCase()
    if (!headerName.test(name)) throw refused('invalid header name')
    return name
  }
  return [
    path('config/auditing/request-headers', {
      operations: { read: () => ({ data: { headers: Object.fromEntries(headers.current()) } }) },
      help: 'The request headers that audit devices log.',
    }),
    path('config/auditing/request-headers/:header', {
      fields: { hmac: field.bool({ default: false, description: 'Hash the value.' }) },
      operations: {
        read: ({ params }) => {
          const name = known(params.header)
          const found = headers.current().get(name)
          if (found === undefined) throw refused('Could not find header in config')
          return { data: { [params.header]: found } }
        },
        update: async ({ params, field }) => {
          await headers.set(known(params.header), field.hmac)
          return undefined
        },
        delete: async ({ params }) => {
          await headers.delete(known(params.header))
          return undefined
        },
      },
      help: 'One audited request header.',
    }),
  ]
}
