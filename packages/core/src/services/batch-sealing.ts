import type { Unsealed } from '../seal-life-cycle/services.ts'
import type { TokenStoreComponents } from '../token/token-store.ts'

/** Associated data of batch tokens; the keyring is shared, so they open on every cluster of the set. */
const CONTEXT = 'sys/token/batch'

export function batchSealing(
  unsealed: Pick<Unsealed, 'keyring'>,
): Pick<TokenStoreComponents, 'sealBatch' | 'openBatch'> {
  return {
    sealBatch: (plaintext) => unsealed.keyring().seal(CONTEXT, plaintext),
    openBatch: (sealed) => unsealed.keyring().open(CONTEXT, sealed),
  }
}
