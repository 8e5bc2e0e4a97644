/** A `Store` whose values are sealed under their own key path; keys stay readable, so that listing needs no index. */
import type { Entry, ListOptions, Reader, ScanRange, Store, Transaction } from '@lockstep/storage'
import { BarrierError } from './errors.ts'
import type { Keyring } from './keyring.ts'
import { RECORD_OVERHEAD, recordTerm } from './record.ts'

type Cipher = Pick<Keyring, 'seal' | 'open'>

export interface EncryptedStoreOptions {
  /**
   * Called with the term of a record that the keyring could not open, which may be one that the stored keyring has already. Resolves true
   * when the keyring has changed since: the record is tried once more. Default: nothing changes it meanwhile.
   */
  renew?(term: number): Promise<boolean>
}

/**
 * Give a function when the keyring can be replaced (a secondary that adopts its primary's). Calls reject with
 * `BarrierError`; a record that does not belong to its key rejects the `get`, `getMany` or `scan` that meets it.
 * Closing this store closes the one below, not the keyring.
 */
export function encryptedStore(
  store: Store,
  keyring: Cipher | (() => Cipher),
  options: EncryptedStoreOptions = {},
): Store {
  return new EncryptedStore(store, { current: typeof keyring === 'function' ? keyring : () => keyring, ...options })
}

interface KeyringSource extends EncryptedStoreOptions {
  current(): Cipher
}

class EncryptedReader<R extends Reader & Writer> {
  protected readonly inner: R
  protected readonly keyring: KeyringSource

  constructor(inner: R, keyring: KeyringSource) {
    this.inner = inner
    this.keyring = keyring
  }

  /** Synchronous unless the keyring is renewed first. */
  #open(key: string, record: Uint8Array): Uint8Array | Promise<Uint8Array> {
    const { keyring } = this
    try {
      return keyring.current().open(key, record)
    } catch (error) {
      if (keyring.renew === undefined || !isUnknown(error, record)) throw error
      return keyring.renew(recordTerm(record)).then((renewed) => {
        if (renewed) return keyring.current().open(key, record)
        throw error
      })
    }
  }

  get(key: string): Promise<Uint8Array | undefined> {
    // One continuation on the inner promise is all a read costs here; an async function would add more.
    return this.inner.get(key).then((record) => (record === undefined ? undefined : this.#open(key, record)))
  }

  getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return this.inner
      .getMany(keys)
      .then((records) =>
        Promise.all(
          records.map((record, index) => (record === undefined ? undefined : this.#open(keys[index]!, record))),
        ),
      )
  }

  list(prefix: string, options?: ListOptions): Promise<string[]> {
    return this.inner.list(prefix, options)
  }

  async *scan(range?: ScanRange): AsyncIterable<Entry> {
    for await (const [key, record] of this.inner.scan(range)) yield [key, await this.#open(key, record)]
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    return this.inner.put(key, this.keyring.current().seal(key, value))
  }

  delete(key: string): Promise<void> {
    return this.inner.delete(key)
  }
}

type Writer = Pick<Store, 'put' | 'delete'>

/** Damaged records fail alike; for those, and for records of terms that are known, `renew` says no. */
function isUnknown(error: unknown, record: Uint8Array): boolean {
  return error instanceof BarrierError && error.code === 'BARRIER_DECRYPTION_FAILED' && record.length >= RECORD_OVERHEAD
}

class EncryptedStore extends EncryptedReader<Store> implements Store {
  begin(): Promise<Transaction> {
    return this.inner.begin().then((transaction) => new EncryptedTransaction(transaction, this.keyring))
  }

  close(): Promise<void> {
    return this.inner.close()
  }
}

class EncryptedTransaction extends EncryptedReader<Transaction> implements Transaction {
  commit(): Promise<void> {
    return this.inner.commit()
  }

  abort(): Promise<void> {
    return this.inner.abort()
  }
}
