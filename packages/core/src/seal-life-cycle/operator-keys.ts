/** What operators hold shares of, of an unsealed node; and the seal records that change with it, or with the seal. */
import type { Keyring } from '@lockstep/barrier'
import type { AutoSeal } from '@lockstep/seal'
import { type Store, transact } from '@lockstep/storage'
import { CoreError } from '../contracts.ts'
import type { ClusterStore } from './cluster-store.ts'
import type { ShareCounts } from './key-shares.ts'
import { decodeOperatorKey, encodeOperatorKey, isSameOperatorKey } from './operator-key-record.ts'
import { readSealConfig, sealKeys } from './seal-config.ts'
import { adoptSeal, isSealedFor, type OperatorKey, operatorRecords, type SealRecords } from './seal-material.ts'

export interface Secrets {
  keyring: Keyring
  /**
   * Shamir, and until a migration to an auto seal is done; otherwise it is read when needed.
   */
  operatorKey: OperatorKey | undefined
}

export interface OperatorKeysComponents {
  store(): ClusterStore
  barrier(): Store
  autoSeal: AutoSeal | undefined
  /** Throws CORE_SEALED. Another object after they were dropped or replaced. */
  present(): Secrets
}

/** Changes are not put in order here: whoever holds the keyring does that. One that fails may have been stored all the same: `refresh` tells. */
export interface OperatorKeys {
  shareCounts(): Promise<ShareCounts>
  /** A copy. */
  operatorKey(): Promise<OperatorKey>
  /** What is behind the barrier; undefined when nothing is. */
  told(): Promise<OperatorKey | undefined>
  /** See `UnsealedKeys`. */
  refresh(): Promise<void>
  /** See `Unsealed`. */
  replace(next: OperatorKey, records: ReadonlyMap<string, Uint8Array>): Promise<void>
  /** Takes over `told`. */
  follow(told: OperatorKey): Promise<void>
  /** See `Unsealed`. `told` is overwritten. */
  tell(told: OperatorKey | undefined): Promise<void>
  /** See `UnsealedKeys`. */
  migrateSeal(): Promise<void>
  /** See `UnsealedKeys`. */
  forget(): void
}

const sealed = (): CoreError => new CoreError('CORE_SEALED', 'Vault is sealed')
const missing = (what: string): CoreError => new CoreError('CORE_INTERNAL', `stored ${what} is missing`)

export function operatorKeys({ store, barrier, autoSeal, present }: OperatorKeysComponents): OperatorKeys {
  const read = (key: string): Promise<Uint8Array | undefined> => store().logged.get(key)
  const isPresent = (holder: Secrets): boolean => {
    try {
      return present() === holder
    } catch {
      return false
    }
  }

  async function recoveryCounts(): Promise<ShareCounts> {
    const config = await readSealConfig(store().logged, sealKeys.recoveryConfig)
    if (config === undefined) throw missing('recovery configuration')
    return { shares: config.secret_shares, threshold: config.secret_threshold }
  }

  async function recoveryKey(): Promise<OperatorKey> {
    const counts = await recoveryCounts()
    const record = await read(sealKeys.recoveryKey)
    if (autoSeal === undefined || record === undefined) throw missing('recovery key')
    return { key: await autoSeal.decrypt(record), ...counts }
  }

  async function told(): Promise<OperatorKey | undefined> {
    const record = await barrier().get(sealKeys.operatorKey)
    return record && decodeOperatorKey(record)
  }

  const isInForce = (key: OperatorKey): Promise<boolean> => isSealedFor(store().logged, key, autoSeal)

  /** Takes over the bytes. */
  function hold(holder: Secrets, operatorKey: OperatorKey | undefined): void {
    const kept = isPresent(holder) && autoSeal === undefined
    if (!kept) operatorKey?.key.fill(0)
    if (!isPresent(holder)) return
    holder.operatorKey?.key.fill(0)
    holder.operatorKey = kept ? operatorKey : undefined
  }

  function withRootKey<T>({ keyring }: Secrets, body: (rootKey: Uint8Array) => Promise<T>): Promise<T> {
    const rootKey = keyring.rootKey()
    return body(rootKey).finally(() => rootKey.fill(0))
  }

  async function commit(records: SealRecords, deleted: readonly string[] = []): Promise<void> {
    await transact(store().logged, async (transaction) => {
      for (const [key, value] of records) await transaction.put(key, value)
      for (const key of deleted) await transaction.delete(key)
    })
  }

  async function change(next: OperatorKey, alongside: (keyring: Keyring) => SealRecords): Promise<void> {
    const holder = present()
    const config = await readSealConfig(store().logged, sealKeys.config)
    const generation = config?.generation ?? 0
    const seal = await withRootKey(holder, (rootKey) => operatorRecords(rootKey, next, autoSeal, generation))
    if (!isPresent(holder)) throw sealed()
    await commit(new Map([...seal, ...alongside(holder.keyring)]))
    hold(holder, next)
  }

  async function refresh(): Promise<void> {
    const holder = present()
    if (holder.operatorKey === undefined) return
    const key = await told()
    if (key === undefined || holder.operatorKey === undefined) return
    if (autoSeal === undefined && !(await isInForce(key))) key.key.fill(0)
    else {
      holder.operatorKey.key.fill(0)
      holder.operatorKey = key
    }
  }

  return {
    async shareCounts() {
      const { operatorKey } = present()
      if (operatorKey !== undefined) return { shares: operatorKey.shares, threshold: operatorKey.threshold }
      return recoveryCounts()
    },
    async operatorKey() {
      const { operatorKey } = present()
      if (operatorKey !== undefined) return { ...operatorKey, key: Uint8Array.from(operatorKey.key) }
      return recoveryKey()
    },
    told,
    refresh,
    replace: (next, records) =>
      change(next, (keyring) => {
        const record = encodeOperatorKey(next)
        try {
          return new Map([...records, [sealKeys.operatorKey, keyring.seal(sealKeys.operatorKey, record)]])
        } finally {
          record.fill(0)
        }
      }),
    async follow(key) {
      if (await isInForce(key)) hold(present(), key)
      else await change(key, () => new Map())
    },
    async tell(key) {
      const holder = present()
      const own = holder.operatorKey ?? (await recoveryKey())
      try {
        if (key !== undefined && isSameOperatorKey(own, key)) return
        // A node that took over and could not read it then: told is what another node put in force.
        if (key !== undefined && holder.operatorKey !== undefined && (await isInForce(key))) {
          return hold(holder, { ...key, key: Uint8Array.from(key.key) })
        }
        const record = encodeOperatorKey(own)
        const kept = new Map([[sealKeys.operatorKey, holder.keyring.seal(sealKeys.operatorKey, record)]])
        record.fill(0)
        await commit(kept)
      } finally {
        key?.key.fill(0)
        if (own !== holder.operatorKey) own.key.fill(0)
      }
    },
    async migrateSeal() {
      const holder = present()
      const { operatorKey } = holder
      if (operatorKey === undefined)
        throw new CoreError('CORE_SEALED', 'the seal is being migrated: unseal with migrate')
      const config = await readSealConfig(store().logged, sealKeys.config)
      const generation = (config?.generation ?? 0) + 1
      const records = await withRootKey(holder, (rootKey) => adoptSeal(rootKey, operatorKey, autoSeal, generation))
      if (!isPresent(holder)) throw sealed()
      await commit(records, autoSeal === undefined ? [sealKeys.recoveryConfig, sealKeys.recoveryKey] : [])
      if (autoSeal !== undefined) hold(holder, undefined)
    },
    forget() {
      if (autoSeal !== undefined) hold(present(), undefined)
    },
  }
}
