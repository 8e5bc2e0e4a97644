/** What becoming a secondary stores: another generation, under the primary's keyring and this cluster's own seal. */
import { deserializeKeyring, type Keyring } from '@lockstep/barrier'
import type { AutoSeal } from '@lockstep/seal'
import type { Store } from '@lockstep/storage'
import type { BootstrapReply } from '../replication/activation/bootstrap-reply.ts'
import type { LedStorage } from './led-storage.ts'
import { poisonPill } from './poison-pill.ts'
import { sealKeys } from './seal-config.ts'
import { adoptSeal, type SealRecords } from './seal-material.ts'
import type { UnsealedKeys } from './unsealed-keys.ts'

export interface Adoption {
  keyring: Keyring
  seal: SealRecords
}

/** May ask the auto seal, so it comes before anything is stopped. */
export async function prepareAdoption(reply: BootstrapReply, autoSeal: AutoSeal | undefined): Promise<Adoption> {
  const keyring = deserializeKeyring(reply.keyring)
  const rootKey = keyring.rootKey()
  try {
    return { keyring, seal: await adoptSeal(rootKey, reply.operatorKey, autoSeal) }
  } catch (error) {
    keyring.close()
    throw error
  } finally {
    rootKey.fill(0)
  }
}

/** `fill` writes what belongs in the new storage besides seal and keyring. */
export function storeAdopted(
  { keyring, seal }: Adoption,
  storage: LedStorage,
  keys: UnsealedKeys,
  fill: (next: Store, previous: Store) => Promise<void>,
): Promise<void> {
  const pill = (context: string): Uint8Array => poisonPill(keys.keyring(), context)
  return storage.replace(async (next) => {
    for (const [key, value] of seal) await next.logged.put(key, value)
    await next.logged.put(sealKeys.keyring, keyring.encrypt())
    await fill(
      next.barrier(() => keyring),
      keys.barrier,
    )
  }, pill)
}
