/** A `Store` whose values are sealed under their own key path; keys stay readable, so that listing needs no index. */
import type { Entry, ListOptions, Reader, ScanRange, Store, Transaction } from '@lockstep/storage'
import type { Keyring } from './keyring.ts'

type KeyringSource = () => Pick<Keyring, 'seal' | 'open'>

/**
 * Give a function when the keyring can be replaced (a secondary that adopts its primary's). Calls reject with
 * `BarrierError`; a record that does not belong to its key rejects the `get`, `getMany` or `scan` that meets it.
 * Closing this store closes the one below, not the keyring.
 */
export function encryptedStore(
  store: Store,
  keyring: Pick<Keyring, 'seal' | 'open'> | (() => Pick<Keyring, 'seal' | 'open'>),
): Store {
  return new EncryptedStore(store, typeof keyring === 'function' ? keyring : () => keyring)
}

class EncryptedReader<R extends Reader & Writer> {
  protected readonly inner: R
  protected readonly keyring: KeyringSource

  constructor(inner: R, keyring: KeyringSource) {
    this.inner = inner
    this.keyring = keyring
  }

  get(key: string): Promise<Uint8Array | undefined> {
    // One continuation on the inner promise is all a read costs here; an async function would add more.
    return this.inner.get(key).then((record) => (record === undefined ? undefined : this.keyring().open(key, record)))
  }

  getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return this.inner.getMany(keys).then((records) => {
      const keyring = this.keyring()
      return records.map((record, index) => (record === undefined ? undefined : keyring.open(keys[index]!, record)))
    })
  }

  list(prefix: string, options?: ListOptions): Promise<string[]> {
    return this.inner.list(prefix, options)
  }

  async *scan(range?: ScanRange): AsyncIterable<Entry> {
    for await (const [key, record] of this.inner.scan(range)) yield [key, this.keyring().open(key, record)]
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    return this.inner.put(key, this.keyring().seal(key, value))
  }

  delete(key: string): Promise<void> {
    return this.inner.delete(key)
  }
}

type Writer = Pick<Store, 'put' | 'delete'>

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
