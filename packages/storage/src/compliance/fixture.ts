import assert from 'node:assert/strict'
import type { LeaderLock } from '../leader-lock.ts'
import type { Entry, Store } from '../store.ts'

/** Registers a test: `test` of vitest, node:test, tape with a wrapper, and so on. */
export type ComplianceTest = (name: string, body: () => Promise<void>) => unknown

export interface StoreFixture {
  /** Empty. */
  store: Store
  /** Opens the same data beside `store`, as another process would. Leave out when only one at a time can. */
  beside?(): Promise<Store>
  /** Opens the same data again after `store.close()`. Leave out when the data does not outlive the store. */
  reopen?(): Promise<Store>
  /** Called after each test; closes what is still open. */
  dispose?(): Promise<void>
}

export interface LeaderLockFixture {
  /** A lock as another node of the same cluster sees it; each call makes a new node. */
  node(): Promise<LeaderLock>
  dispose?(): Promise<void>
}

/** Registers tests that each get a store of their own. */
export type StoreTest = (name: string, body: (store: Store, fixture: StoreFixture) => Promise<void>) => void

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

export function text(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : new TextDecoder().decode(value)
}

export async function putAll(store: Store, keys: readonly string[]): Promise<void> {
  for (const key of keys) await store.put(key, bytes(`value of ${key}`))
}

export async function collect(entries: AsyncIterable<Entry>): Promise<Entry[]> {
  const collected: Entry[] = []
  for await (const entry of entries) collected.push(entry)
  return collected
}

export async function keysOf(entries: AsyncIterable<Entry>): Promise<string[]> {
  return (await collect(entries)).map(([key]) => key)
}

export async function rejectsWith(code: string, action: () => Promise<unknown>): Promise<void> {
  await assert.rejects(action, (error: unknown) => {
    assert.ok(error instanceof Error, 'rejects with an Error')
    assert.equal((error as { code?: unknown }).code, code, error.message)
    return true
  })
}
