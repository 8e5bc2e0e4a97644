/** The keys of an unsealed node, and every change of the stored keyring: one at a time, or a rotation could be lost. */
import { type Keyring, openKeyring } from '@lockstep/barrier'
import type { AutoSeal } from '@lockstep/seal'
import { CoreError } from '../contracts.ts'
import type { ClusterStore } from './cluster-store.ts'
import { operatorKeys, type Secrets } from './operator-keys.ts'
import { sealKeys } from './seal-config.ts'
import type { Unsealed } from './services.ts'

export interface UnsealedKeys extends Unsealed {
  readonly present: boolean
  /** Owns them from now on; those before are overwritten. */
  take(secrets: Secrets): void
  /** Opens the stored keyring by the root key held, for a node that takes over from another one. */
  reopen(): Promise<void>
  /** Of a node that takes over: another one may have rekeyed since this one was unsealed. */
  refreshOperatorKey(): Promise<void>
  /**
   * Seals root and operators' key anew under the configured seal, in one transaction. Rejects with CORE_SEALED when the node was not
   * unsealed with the operators' key.
   */
  migrateSeal(): Promise<void>
  /** With an auto seal in force the operators' key is read when needed, also by a node that was unsealed with it. */
  forgetOperatorKey(): void
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

  function inTurn<T>(body: () => Promise<T>): Promise<T> {
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

  /** What is in force after a failure is read once the turn is over: to open the record a keyring may be needed that waits for its own turn. */
  async function changed(body: () => Promise<void>): Promise<void> {
    try {
      await inTurn(body)
    } catch (error) {
      await operators.refresh().catch(() => {})
      throw error
    }
  }

  const operators = operatorKeys({ store, autoSeal, present, barrier: () => keys.barrier })

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
    shareCounts: () => operators.shareCounts(),
    operatorKey: () => operators.operatorKey(),
    refreshOperatorKey: () => operators.refresh(),
    replaceOperatorKey: (next, records = new Map()) => changed(() => operators.replace(next, records)),
    async followOperatorKey() {
      const told = await operators.told()
      if (told !== undefined) await changed(() => operators.follow(told))
    },
    async tellOperatorKey() {
      const told = await operators.told()
      await inTurn(() => operators.tell(told))
    },
    migrateSeal: () => inTurn(() => operators.migrateSeal()),
    forgetOperatorKey: () => operators.forget(),
  }
  return keys
}
