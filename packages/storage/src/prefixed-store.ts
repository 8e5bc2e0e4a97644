import type { Engine } from './engine.ts'
import { StorageError } from './errors.ts'
import { invalidKey, invalidListPrefix } from './key.ts'
import { prefixedEngine } from './prefixed-engine.ts'
import type { Entry, ListOptions, Reader, ScanRange, Store, StoreLimits, Transaction } from './store.ts'
import { ENGINE_BELOW, engineBelow, type LayeredStore } from './store-engine.ts'

/**
 * The part of a store below `prefix` (which ends in "/"), with the prefix taken off its keys. Transactions of the view
 * are transactions of the parent. Closing the view leaves the parent open; commits under way go on there.
 */
export function prefixedStore(store: Store, prefix: string): Store {
  const problem =
    prefix === '' ? new StorageError('STORAGE_INVALID_KEY', 'expected a prefix') : invalidListPrefix(prefix)
  if (problem !== undefined) throw problem
  return new PrefixedStore(store, prefix)
}

abstract class PrefixedReader implements Reader {
  protected readonly prefix: string
  readonly #reader: Reader

  constructor(reader: Reader, prefix: string) {
    this.#reader = reader
    this.prefix = prefix
  }

  protected abstract closedError(): StorageError | undefined

  /** The parent's key; throws for keys that are only valid because of the prefix. */
  protected inner(key: string): string {
    const problem = this.closedError() ?? invalidKey(key)
    if (problem !== undefined) throw problem
    return this.prefix + key
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.#reader.get(this.inner(key))
  }

  async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    this.assertOpen()
    return this.#reader.getMany(keys.map((key) => this.inner(key)))
  }

  async list(prefix: string, options?: ListOptions): Promise<string[]> {
    this.assertOpen()
    const problem = invalidListPrefix(prefix)
    if (problem !== undefined) throw problem
    return this.#reader.list(this.prefix + prefix, options)
  }

  async *scan(range: ScanRange = {}): AsyncGenerator<Entry> {
    this.assertOpen()
    const inner: ScanRange = { ...range, prefix: this.prefix + (range.prefix ?? '') }
    // A parent's key equal to the prefix has no name here.
    inner.after = this.prefix + (range.after ?? '')
    if (range.before !== undefined) inner.before = this.prefix + range.before
    for await (const [key, value] of this.#reader.scan(inner)) {
      yield [key.slice(this.prefix.length), value]
      this.assertOpen()
    }
  }

  protected assertOpen(): void {
    const closed = this.closedError()
    if (closed !== undefined) throw closed
  }
}

class PrefixedStore extends PrefixedReader implements LayeredStore {
  readonly #store: Store
  #closed = false

  constructor(store: Store, prefix: string) {
    super(store, prefix)
    this.#store = store
  }

  get limits(): StoreLimits | undefined {
    return this.#store.limits
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    return this.#store.put(this.inner(key), value)
  }

  async delete(key: string): Promise<void> {
    return this.#store.delete(this.inner(key))
  }

  async begin(): Promise<Transaction> {
    this.assertOpen()
    return new PrefixedTransaction(await this.#store.begin(), this.prefix, () => this.closedError())
  }

  async close(): Promise<void> {
    this.#closed = true
  }

  [ENGINE_BELOW](): Engine | undefined {
    const engine = engineBelow(this.#store)
    return engine && prefixedEngine(engine, this.prefix)
  }

  protected closedError(): StorageError | undefined {
    return this.#closed ? new StorageError('STORAGE_CLOSED', 'the view of the store is closed') : undefined
  }
}

class PrefixedTransaction extends PrefixedReader implements Transaction {
  readonly #transaction: Transaction
  readonly #closedError: () => StorageError | undefined

  constructor(transaction: Transaction, prefix: string, closedError: () => StorageError | undefined) {
    super(transaction, prefix)
    this.#transaction = transaction
    this.#closedError = closedError
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    return this.#transaction.put(this.inner(key), value)
  }

  async delete(key: string): Promise<void> {
    return this.#transaction.delete(this.inner(key))
  }

  async commit(): Promise<void> {
    this.assertOpen()
    return this.#transaction.commit()
  }

  abort(): Promise<void> {
    return this.#transaction.abort()
  }

  protected closedError(): StorageError | undefined {
    return this.#closedError()
  }
}
