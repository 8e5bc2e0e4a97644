/** The private halves of a secondary to be: one per kind, behind the barrier, never shipped, gone once used. */
import { generateActivationKey } from '@lockstep/bootstrap'
import type { Store, Transaction } from '@lockstep/storage'
import type { ReplicationKind } from '../role-records.ts'

/** Class `ignored`. Whoever stores the role that a sealed activation gave deletes it in the same transaction. */
export const activationKeyPath = (kind: ReplicationKind): string => `core/replication/activation-key/${kind}`

export interface ActivationKeys {
  /** Resolves with the public half. A key generated before, and every token made for it, is good for nothing from now on. */
  generate(kind: ReplicationKind): Promise<string>
  /** PKCS#8; undefined when there is none. */
  privateKey(kind: ReplicationKind): Promise<string | undefined>
}

export function activationKeys(storage: Pick<Store | Transaction, 'get' | 'put'>): ActivationKeys {
  return {
    async generate(kind) {
      const { privateKeyPem, publicKey } = generateActivationKey()
      await storage.put(activationKeyPath(kind), Buffer.from(privateKeyPem))
      return publicKey
    },
    async privateKey(kind) {
      const stored = await storage.get(activationKeyPath(kind))
      return stored && Buffer.from(stored).toString('utf8')
    },
  }
}
