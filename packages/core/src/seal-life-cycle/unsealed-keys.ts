/** The keys of an unsealed node, and every change of the stored keyring: one at a time, or a rotation could be lost. */
import { type Keyring, openKeyring } from '@lockstep/barrier'
import type { AutoSeal } from '@lockstep/seal'
import { transact } from '@lockstep/storage'
import { CoreError } from '../contracts.ts'
import type { ClusterStore } from './cluster-store.ts'
import type { ShareCounts } from './key-shares.ts'
import { decodeOperatorKey, encodeOperatorKey, isSameOperatorKey } from './operator-key-record.ts'
import { openRootKey } from './root-key.ts'
import { readSealConfig, sealKeys } from './seal-config.ts'
import { type OperatorKey, operatorRecords, type SealRecords } from './seal-material.ts'
import type { Unsealed } from './services.ts'

export interface Secrets {
  keyring: Keyring
  /** Shamir only; with an auto seal it is read when needed. */
  operatorKey: OperatorKey | undefined
}

export interface UnsealedKeys extends Unsealed {
  readonly present: boolean
  /** Owns them from now on; those before are overwritten. */
  take(secrets: Secrets): void
  /** Opens the stored keyring by the root key held, for a node that takes over from another one. */
  reopen(): Promise<void>
  /** Of a node that takes over: another one may have rekeyed since this one was unsealed. */
  refreshOperatorKey(): Promise<void>
  /** Overwrites them. */
  drop(): void
}

/** NIST SP 800-38D allows 2^32 per key, so this much may be forgotten in a crash many times over. */
const ENCRYPTIONS_BETWEEN_SAVES = 2 ** 20

export interface UnsealedKeysOptions {
  /** How long a read waits for a keyring that can open what it found, ms. Default 2000. */
  renewalWaitMs?: number
}

export function unsealedKeys(
  store: () => ClusterStore,
  autoSeal: AutoSeal | undefined,
  { renewalWaitMs = 2000 }: UnsealedKeysOptions = {},
): UnsealedKeys {
  /** Reads that wait for another keyring. */
  const waiting = new Set<() => void>()
  let secrets: Secrets | undefined
  /** As of the keyring record last written; what a crash forgets is bounded by the distance to it. */
  let storedEncryptions = 0
  let last: Promise<unknown> = Promise.resolve()

  function inTurn(body: () => Promise<void>): Promise<void> {
    const next = last.then(body, body)
    last = next.catch(() => {})
    return next
  }

  function present(): Secrets {
    if (secrets === undefined) throw new CoreError('CORE_SEALED', 'Vault is sealed')
    return secrets
  }

  /** `holder` are the secrets as of before an await: sealing or adopting another keyring may have come between. */
  function replaceKeyring(holder: Secrets, next: Keyring): void {
    if (secrets !== holder) {
      next.close()
      return
    }
    const previous = holder.keyring
    holder.keyring = next
    storedEncryptions = next.terms().at(-1)!.encryptions
    for (const wake of waiting) wake()
    // Whoever fetched it in this turn still uses it.
    setImmediate(() => previous.close())
  }

  const read = (key: string): Promise<Uint8Array | undefined> => store().logged.get(key)

  async function loadKeyring(): Promise<void> {
    const holder = present()
    const record = await read(sealKeys.keyring)
    if (record === undefined || secrets !== holder) return
    const rootKey = holder.keyring.rootKey()
    try {
      replaceKeyring(holder, openKeyring(rootKey, record))
    } finally {
      rootKey.fill(0)
    }
  }

  async function rotate(): Promise<void> {
    const holder = present()
    const next = holder.keyring.clone()
    try {
      next.rotate()
      await store().logged.put(sealKeys.keyring, next.encrypt())
    } catch (error) {
      next.close()
      throw error
    }
    replaceKeyring(holder, next)
  }

  async function recoveryCounts(): Promise<ShareCounts> {
    const config = await readSealConfig(store().logged, sealKeys.recoveryConfig)
    if (config === undefined) throw new CoreError('CORE_INTERNAL', 'stored recovery configuration is missing')
    return { shares: config.secret_shares, threshold: config.secret_threshold }
  }

  async function recoveryKey(seal: AutoSeal | undefined): Promise<OperatorKey> {
    const counts = await recoveryCounts()
    const record = await read(sealKeys.recoveryKey)
    if (seal === undefined || record === undefined) {
      throw new CoreError('CORE_INTERNAL', 'stored recovery key is missing')
    }
    return { key: await seal.decrypt(record), ...counts }
  }

  /** What is behind the barrier. */
  async function toldOperatorKey(): Promise<OperatorKey | undefined> {
    const record = await keys.barrier.get(sealKeys.operatorKey)
    return record && decodeOperatorKey(record)
  }

  /** Whether the stored seal is one of `told`. */
  async function isInForce(told: OperatorKey): Promise<boolean> {
    if (autoSeal !== undefined) {
      const own = await recoveryKey(autoSeal)
      const same = isSameOperatorKey(own, told)
      own.key.fill(0)
      return same
    }
    const [config, record] = [await readSealConfig(store().logged, sealKeys.config), await read(sealKeys.rootKey)]
    if (config === undefined || record === undefined) return false
    if (config.secret_shares !== told.shares || config.secret_threshold !== told.threshold) return false
    try {
      openRootKey(told.key, record).fill(0)
      return true
    } catch {
      return false
    }
  }

  function hold(holder: Secrets, operatorKey: OperatorKey): void {
    if (secrets !== holder || autoSeal !== undefined) {
      operatorKey.key.fill(0)
      return
    }
    holder.operatorKey?.key.fill(0)
    holder.operatorKey = operatorKey
  }

  /** `records` makes what is stored along with the seal, from the keyring. */
  async function storeOperatorKey(next: OperatorKey, records: (keyring: Keyring) => SealRecords): Promise<void> {
    const holder = present()
    const config = await readSealConfig(store().logged, sealKeys.config)
    const rootKey = holder.keyring.rootKey()
    const seal = await operatorRecords(rootKey, next, autoSeal, config?.generation ?? 0).finally(() => rootKey.fill(0))
    if (secrets !== holder) throw new CoreError('CORE_SEALED', 'Vault is sealed')
    const stored = [...seal, ...records(holder.keyring)]
    try {
      await transact(store().logged, async (transaction) => {
        for (const [key, value] of stored) await transaction.put(key, value)
      })
    } catch (error) {
      // It may have been stored all the same.
      if ((error as { code?: unknown }).code !== 'STORAGE_CLOSED') await refreshOperatorKey().catch(() => {})
      throw error
    }
    hold(holder, next)
  }

  async function refreshOperatorKey(): Promise<void> {
    const holder = present()
    if (holder.operatorKey === undefined || autoSeal !== undefined) return
    const told = await toldOperatorKey()
    if (told === undefined) return
    if (await isInForce(told)) hold(holder, told)
    else told.key.fill(0)
  }

  /**
   * Replication stores a new keyring before the first record under its new term, and it is read a moment later. Only a Merkle sync may bring
   * the record first: the keyring is then on its way.
   */
  async function renew(term: number): Promise<boolean> {
    const known = (): boolean => present().keyring.activeTerm >= term
    if (known()) return false
    const deadline = performance.now() + renewalWaitMs
    await inTurn(async () => {
      if (!known()) await loadKeyring()
    })
    while (!known() && performance.now() < deadline) await replaced(deadline - performance.now())
    return known()
  }

  function replaced(withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        waiting.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, withinMs)
      waiting.add(wake)
    })
  }

  const keys: UnsealedKeys = {
    get present() {
      return secrets !== undefined
    },
    take(next) {
      keys.drop()
      secrets = next
      storedEncryptions = next.keyring.terms().at(-1)!.encryptions
    },
    reopen: () => inTurn(loadKeyring),
    drop() {
      for (const wake of waiting) wake()
      secrets?.keyring.close()
      secrets?.operatorKey?.key.fill(0)
      secrets = undefined
    },

    get store() {
      return store()
    },
    get barrier() {
      return store().barrier(keys.keyring, { renew })
    },
    keyring: () => present().keyring,
    reloadKeyring: () => inTurn(loadKeyring),
    rotateKeyring: () => inTurn(rotate),
    keepKeyring: () =>
      inTurn(async () => {
        const { keyring } = present()
        if (keyring.needsRotation) return rotate()
        const encryptions = keyring.terms().at(-1)!.encryptions
        if (encryptions - storedEncryptions < ENCRYPTIONS_BETWEEN_SAVES) return
        await store().logged.put(sealKeys.keyring, keyring.encrypt())
        storedEncryptions = encryptions
      }),
    async shareCounts() {
      const { operatorKey } = present()
      if (operatorKey !== undefined) return { shares: operatorKey.shares, threshold: operatorKey.threshold }
      return recoveryCounts()
    },
    async operatorKey() {
      const { operatorKey } = present()
      if (operatorKey !== undefined) return { ...operatorKey, key: Uint8Array.from(operatorKey.key) }
      return recoveryKey(autoSeal)
    },
    refreshOperatorKey,
    replaceOperatorKey: (next, records = new Map()) =>
      inTurn(() =>
        storeOperatorKey(next, (keyring) => {
          const record = encodeOperatorKey(next)
          try {
            return new Map([...records, [sealKeys.operatorKey, keyring.seal(sealKeys.operatorKey, record)]])
          } finally {
            record.fill(0)
          }
        }),
      ),
    async followOperatorKey() {
      const told = await toldOperatorKey()
      if (told === undefined) return
      await inTurn(async () => {
        if (await isInForce(told)) hold(present(), told)
        else await storeOperatorKey(told, () => new Map())
      })
    },
  }
  return keys
}
