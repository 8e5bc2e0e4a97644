import { memoryStore, prefixedStore, type Store, transact } from '@lockstep/storage'
import { storeCompliance } from '@lockstep/storage/compliance'
import { describe, expect, test } from 'vitest'
import { createKeyring, encryptedStore, type Keyring, nobleAead, openKeyring } from './index.ts'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const refused = { code: 'BARRIER_DECRYPTION_FAILED', message: 'the record cannot be decrypted' }

function fixture(): { raw: Store; keyring: Keyring; store: Store } {
  const raw = memoryStore()
  const keyring = createKeyring()
  return { raw, keyring, store: encryptedStore(raw, keyring) }
}

describe('the encrypted store', () => {
  test('stores records bound to their key, readable by the keyring', async () => {
    const { raw, keyring, store } = fixture()
    await store.put('logical/a', text('secret value'))
    const record = (await raw.get('logical/a'))!
    expect(Buffer.from(record).includes('secret value')).toBe(false)
    expect(keyring.open('logical/a', record)).toEqual(text('secret value'))
    expect(await store.get('logical/a')).toEqual(text('secret value'))
    expect(await store.get('logical/b')).toBeUndefined()
  })

  test('a record moved to another key is refused by every way of reading', async () => {
    const { raw, store } = fixture()
    await store.put('a', text('1'))
    await raw.put('b', (await raw.get('a'))!)
    await expect(store.get('b')).rejects.toMatchObject(refused)
    await expect(store.getMany(['a', 'b'])).rejects.toMatchObject(refused)
    await expect(collect(store)).rejects.toMatchObject(refused)
    const transaction = await store.begin()
    await expect(transaction.get('b')).rejects.toMatchObject(refused)
    await expect(collect(transaction)).rejects.toMatchObject(refused)
    await transaction.abort()
    expect(await store.list('')).toEqual(['a', 'b'])
  })

  test('reads what was written before a rotation, and re-encrypts on the next write', async () => {
    const { raw, keyring, store } = fixture()
    await store.put('a', text('1'))
    keyring.rotate()
    expect(await store.get('a')).toEqual(text('1'))
    await transact(store, async (transaction) => {
      await transaction.put('a', (await transaction.get('a'))!)
    })
    expect((await raw.get('a'))![3]).toBe(2)
    expect(await store.get('a')).toEqual(text('1'))
  })

  test('a keyring given by a function can be replaced', async () => {
    const raw = memoryStore()
    let keyring = createKeyring()
    const store = encryptedStore(raw, () => keyring)
    await store.put('a', text('1'))
    const adopted = createKeyring()
    const record = adopted.seal('b', text('2'))
    keyring = openKeyring(adopted.rootKey(), adopted.encrypt())
    await raw.put('b', record)
    expect(await store.get('b')).toEqual(text('2'))
    await expect(store.get('a')).rejects.toMatchObject(refused)
  })

  test('a closed keyring rejects, and never throws at the call', async () => {
    const { keyring, store } = fixture()
    await store.put('a', text('1'))
    keyring.close()
    for (const call of [() => store.get('a'), () => store.getMany(['a']), () => store.put('a', text('2'))]) {
      await expect(call()).rejects.toMatchObject({ code: 'BARRIER_CLOSED' })
    }
  })
})

describe('with a keyring that can be renewed', () => {
  function renewable(renewed: boolean) {
    const raw = memoryStore()
    let keyring = createKeyring()
    const next = keyring.clone()
    next.rotate()
    const terms: number[] = []
    const renew = async (term: number): Promise<boolean> => {
      terms.push(term)
      if (renewed) keyring = next
      return renewed
    }
    return { raw, next, terms, store: encryptedStore(raw, () => keyring, { renew }) }
  }

  test('a record of a later term is opened after that, however it is read', async () => {
    for (const read of [
      (store: Store) => store.get('a'),
      async (store: Store) => (await store.getMany(['a', 'none']))[0],
      async (store: Store) => {
        for await (const [, value] of store.scan()) return value
        return undefined
      },
      async (store: Store) => (await store.begin()).get('a'),
    ]) {
      const { raw, next, terms, store } = renewable(true)
      await raw.put('a', next.seal('a', text('1')))
      expect(await read(store)).toEqual(text('1'))
      expect(terms).toEqual([2])
    }
  })

  test('one that still does not open is refused', async () => {
    const { raw, next, store, terms } = renewable(false)
    await raw.put('a', next.seal('a', text('1')))
    await expect(store.get('a')).rejects.toMatchObject(refused)
    await raw.put('b', text('short'))
    await expect(store.get('b')).rejects.toMatchObject(refused)
    expect(terms).toEqual([2])
  })
})

describe('store compliance', () => {
  storeCompliance({ test, factory: async () => ({ store: encryptedStore(memoryStore(), createKeyring()) }) })
})

describe('store compliance, portable cipher, seen through a prefix', () => {
  storeCompliance({
    test,
    factory: async () => {
      const store = encryptedStore(memoryStore(), createKeyring({ aead: nobleAead() }))
      return { store: prefixedStore(store, 'ns/') }
    },
  })
})

async function collect(reader: Pick<Store, 'scan'>): Promise<string[]> {
  const keys: string[] = []
  for await (const [key] of reader.scan()) keys.push(key)
  return keys
}
