/**
 * A former primary may have rotated its keys without anybody having got the new ones. The comparison with the new primary brings that
 * one's keyring, which does not open what this cluster keeps of its own: that is sealed anew first.
 */
import { deserializeKeyring, encryptedStore, type Keyring } from '@lockstep/barrier'
import type { LoggedStore } from '@lockstep/replication-driver'
import type { Store, Transaction } from '@lockstep/storage'
import type { ClassRules } from '@lockstep/storage-classes'
import { sealKeys } from '../../seal-life-cycle/seal-config.ts'
import type { BootstrapReply } from '../activation/bootstrap-reply.ts'

/** Takes the keys out of the reply, which are overwritten there. The caller closes it. */
export function keyringOf(reply: BootstrapReply): Keyring {
  try {
    return deserializeKeyring(reply.keyring)
  } finally {
    for (const key of [reply.keyring, reply.operatorKey.key]) key.fill(0)
  }
}

/** Whether what `own` seals now can be opened by `next`. */
export function opensAll(next: Keyring, own: Keyring): boolean {
  return opens(next, PROBE, own.seal(PROBE, new Uint8Array(0))) !== undefined
}

/** The records to be stored in place of the present ones: the keyring, and what only `own` opens of the cluster's own. */
export async function sealedAnew(
  logged: Pick<LoggedStore, 'scan'>,
  classes: Pick<ClassRules, 'classify'>,
  own: Keyring,
  next: Keyring,
): Promise<Map<string, Uint8Array>> {
  const records = new Map<string, Uint8Array>()
  for await (const [key, record] of logged.scan({ prefix: 'core/' })) {
    // Kept writes stay under the keys they were made under.
    if (key.startsWith('core/replication/unreplicated/') && key.includes('/entry/')) continue
    if (classes.classify(key).class !== 'ignored' && !key.startsWith('core/cluster/')) continue
    if (opens(next, key, record) !== undefined) continue
    const value = opens(own, key, record)
    if (value !== undefined) records.set(key, next.seal(key, value))
  }
  records.set(sealKeys.keyring, next.encrypt())
  return records
}

/** The transaction as seen through the barrier. */
export function throughBarrier(raw: Transaction, keyring: Keyring): Promise<Transaction> {
  return encryptedStore({ begin: async () => raw } as Partial<Store> as Store, keyring).begin()
}

const PROBE = 'core/replication/probe'

function opens(keyring: Keyring, key: string, record: Uint8Array): Uint8Array | undefined {
  try {
    return keyring.open(key, record)
  } catch {
    // Sealed by another keyring, or not by one at all.
    return undefined
  }
}
