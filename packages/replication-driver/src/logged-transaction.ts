import type { Entry, ListOptions, ScanRange, Transaction } from '@lockstep/storage'
import type { WriteGuard, WriteTally } from './write-guard.ts'

/** A transaction that refuses writes this cluster may not make, when they are made and again when they are committed. */
export class LoggedTransaction implements Transaction {
  readonly #inner: Transaction
  readonly #guard: WriteGuard
  readonly #tally: WriteTally = { bytes: 0, replicated: undefined, local: undefined }

  constructor(inner: Transaction, guard: WriteGuard) {
    this.#inner = inner
    this.#guard = guard
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return this.#inner.get(key)
  }

  getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return this.#inner.getMany(keys)
  }

  list(prefix: string, options?: ListOptions): Promise<string[]> {
    return this.#inner.list(prefix, options)
  }

  scan(range?: ScanRange): AsyncIterable<Entry> {
    return this.#inner.scan(range)
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    this.#guard.check(key, value, this.#tally)
    return this.#inner.put(key, value)
  }

  async delete(key: string): Promise<void> {
    this.#guard.check(key, undefined, this.#tally)
    return this.#inner.delete(key)
  }

  async commit(): Promise<void> {
    // The role may have changed since the write.
    this.#guard.recheck(this.#tally)
    return this.#inner.commit()
  }

  abort(): Promise<void> {
    return this.#inner.abort()
  }
}
