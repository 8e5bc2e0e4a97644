/**
 * The end of a storage generation, told to the other nodes of the cluster. The node that joins a primary leaves a tag made with the
 * root key that ends; a node that still holds that key knows by it that the change was meant and that its keys are dead. The root
 * key rather than a term of the keyring, because a standby may have been unsealed before the last rotation.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Keyring } from '@lockstep/barrier'
import type { Log } from '../contracts.ts'
import { periodicWork } from '../services/periodic-work.ts'

/** Vault's words, by which operators and their log alerts know the event. */
export const KEYS_CHANGED =
  'encryption keys have changed out from underneath us (possibly due to replication enabling), must be unsealed again'
export const KEYRING_UNEXPLAINED =
  "the stored keyring does not open with this node's keys, and no change of role explains it: the storage is corrupt or was replaced; this node seals itself"

const LABEL = 'lockstep poison pill v1\n'

/** How often a standby looks whether its storage was replaced. */
const WATCH_MS = 1_000

/** `context` says which generation ends. */
export function poisonPill(keyring: Pick<Keyring, 'rootKey'>, context: string): Uint8Array {
  const rootKey = keyring.rootKey()
  try {
    return createHmac('sha256', rootKey).update(LABEL).update(context).digest()
  } finally {
    rootKey.fill(0)
  }
}

/** Whether the pill was made with the keys held. */
export function poisonedBy(
  pill: { context: string; tag: Uint8Array } | undefined,
  keyring: Pick<Keyring, 'rootKey'>,
): boolean {
  if (pill === undefined) return false
  const own = poisonPill(keyring, pill.context)
  return own.length === pill.tag.length && timingSafeEqual(own, pill.tag)
}

/** Calls `look` about once a second while `wanted`. A failure is logged once, until it is another or none. */
export function watch(look: () => Promise<void>, wanted: () => boolean, log: Log): () => Promise<void> {
  let failing = ''
  return periodicWork(
    log,
    async () => {
      if (!wanted()) return
      try {
        await look()
        failing = ''
      } catch (error) {
        if (String(error) === failing) return
        failing = String(error)
        log.error('a standby cannot see whether its storage was replaced, it looks again', { error: failing })
      }
    },
    WATCH_MS,
  )
}
