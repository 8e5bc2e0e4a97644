/**
 * Transit keys at rest: settings in `policy/<name>`, each version's secrets in `key/<name>/<number>`, so that no record grows with
 * the number of rotations. Keys in use stay in memory until `invalidate`.
 */
import { randomBytes } from 'node:crypto'
import { type BackendStorage, readJson, storedCache, type Transaction, writeJson } from '@lockstep/backend'
import { generateSecret } from './key-type.ts'
import { type KeySecrets, type KeyVersion, keyVersion } from './key-version.ts'
import { type KeySettings, refuse, type TransitKey } from './transit-key.ts'

export interface KeyStore {
  get(name: string): Promise<TransitKey | undefined> | TransitKey
  names(): Promise<string[]>
  /** Creates the key with version 1 unless it is there. */
  create(settings: NewKey): Promise<TransitKey>
  /** Changes settings in one transaction; `change` gets a copy and may also write. */
  update(
    name: string,
    missing: string,
    change: (settings: KeySettings, transaction: Transaction) => Promise<void> | void,
  ): Promise<TransitKey>
  rotate(name: string): Promise<TransitKey>
  delete(name: string): Promise<void>
  /** All versions that still exist, also those below the minimum for decryption. */
  allVersions(settings: KeySettings): Promise<Map<number, KeySecrets>>
  /** Writes a whole key, replacing any other of the name when `force`. */
  restore(settings: KeySettings, versions: ReadonlyMap<number, KeySecrets>, force: boolean): Promise<void>
  invalidate(key: string): void
}

export type NewKey = Pick<
  KeySettings,
  'name' | 'type' | 'keySize' | 'derived' | 'convergent' | 'exportable' | 'plaintextBackup' | 'autoRotatePeriod'
>

interface StoredSecrets {
  created: number
  secret: string
  hmacKey: string
}

const policyFolder = 'policy/'
const keyFolder = 'key/'

export function keyStore(storage: BackendStorage, now: () => number, cacheLimit: number): KeyStore {
  const cache = storedCache<TransitKey>({ limit: cacheLimit })

  async function load(name: string): Promise<TransitKey | undefined> {
    const settings = await readJson<KeySettings>(storage, policyFolder + name)
    if (settings === undefined) return undefined
    const versions = new Map<number, KeyVersion>()
    for (const [number, secrets] of await readVersions(settings, settings.minDecryption)) {
      versions.set(number, keyVersion(settings.type, number, secrets))
    }
    return { settings, versions }
  }

  async function readVersions(settings: KeySettings, from: number): Promise<Map<number, KeySecrets>> {
    const numbers: number[] = []
    for (let number = Math.max(1, from); number <= settings.latest; number++) numbers.push(number)
    const records = await storage.getMany(numbers.map((number) => versionKey(settings.name, number)))
    const versions = new Map<number, KeySecrets>()
    for (const [index, record] of records.entries()) {
      if (record !== undefined) versions.set(numbers[index]!, decodeSecrets(record))
    }
    return versions
  }

  /** A key that must exist, freshly read: right after its own write. */
  async function reload(name: string): Promise<TransitKey> {
    cache.invalidate(name)
    return (await cache.get(name, load)) ?? refuse('encryption key not found')
  }

  async function newSecrets(settings: Pick<KeySettings, 'type' | 'keySize'>): Promise<KeySecrets> {
    const secret = await generateSecret(settings.type, settings.keySize)
    return { created: now(), secret, hmacKey: settings.type === 'hmac' ? secret : randomBytes(32) }
  }

  const store: KeyStore = {
    get: (name) => cache.get(name, load),
    names: () => storage.list(policyFolder),

    async create(input) {
      const secrets = await newSecrets(input)
      await storage.transaction(async (transaction) => {
        if ((await transaction.get(policyFolder + input.name)) !== undefined) return
        const settings: KeySettings = {
          ...input,
          deletionAllowed: false,
          latest: 1,
          minDecryption: 1,
          minEncryption: 0,
          minAvailable: 0,
        }
        await writeJson(transaction, policyFolder + input.name, settings)
        await writeSecrets(transaction, input.name, 1, secrets)
      })
      return reload(input.name)
    },

    async update(name, missing, change) {
      await storage.transaction(async (transaction) => {
        const settings = (await readJson<KeySettings>(transaction, policyFolder + name)) ?? refuse(missing)
        await change(settings, transaction)
        await writeJson(transaction, policyFolder + name, settings)
      })
      return reload(name)
    },

    async rotate(name) {
      const { settings } = (await store.get(name)) ?? refuse('key not found')
      const secrets = await newSecrets(settings)
      return store.update(name, 'key not found', async (current, transaction) => {
        if (current.type !== settings.type || current.keySize !== settings.keySize) refuse('key was replaced meanwhile')
        current.latest++
        await writeSecrets(transaction, name, current.latest, secrets)
      })
    },

    async delete(name) {
      const prefix = `error deleting policy ${name}: `
      await storage.transaction(async (transaction) => {
        const settings = await readJson<KeySettings>(transaction, policyFolder + name)
        if (settings === undefined) return refuse(`${prefix}could not delete key; not found`)
        if (!settings.deletionAllowed) refuse(`${prefix}deletion is not allowed for this key`)
        await removeAll(transaction, settings)
      })
      cache.invalidate(name)
    },

    allVersions: (settings) => readVersions(settings, settings.minAvailable),

    async restore(settings, versions, force) {
      await storage.transaction(async (transaction) => {
        const existing = await readJson<KeySettings>(transaction, policyFolder + settings.name)
        if (existing !== undefined) {
          if (!force) refuse(`key "${settings.name}" already exists`)
          await removeAll(transaction, existing)
        }
        await writeJson(transaction, policyFolder + settings.name, settings)
        for (const [number, secrets] of versions) await writeSecrets(transaction, settings.name, number, secrets)
      })
      cache.invalidate(settings.name)
    },

    invalidate(key) {
      const name = key.startsWith(policyFolder) ? key.slice(policyFolder.length) : key.split('/')[1]
      if (name !== undefined && !key.startsWith('config/')) cache.invalidate(name)
    },
  }
  return store
}

export function versionKey(name: string, number: number): string {
  return `${keyFolder}${name}/${number}`
}

async function removeAll(transaction: Transaction, settings: KeySettings): Promise<void> {
  await transaction.delete(policyFolder + settings.name)
  for (let number = Math.max(1, settings.minAvailable); number <= settings.latest; number++) {
    await transaction.delete(versionKey(settings.name, number))
  }
}

function writeSecrets(transaction: Transaction, name: string, number: number, secrets: KeySecrets): Promise<void> {
  const stored: StoredSecrets = {
    created: secrets.created,
    secret: secrets.secret.toString('base64'),
    hmacKey: secrets.hmacKey.toString('base64'),
  }
  return writeJson(transaction, versionKey(name, number), stored)
}

function decodeSecrets(record: Uint8Array): KeySecrets {
  const stored: StoredSecrets = JSON.parse(Buffer.from(record).toString())
  return {
    created: stored.created,
    secret: Buffer.from(stored.secret, 'base64'),
    hmacKey: Buffer.from(stored.hmacKey, 'base64'),
  }
}
