/**
 * The sums of a snapshot under what unseals the cluster: who opens them has the same unseal keys, or the same auto seal. As in Vault,
 * a snapshot of before a rekey does not open.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { nodeAead } from '@lockstep/barrier'
import { type AutoSeal, SealError } from '@lockstep/seal'
import type { Reader } from '@lockstep/storage'
import { CoreError } from '../contracts.ts'
import { isSealedFor, type OperatorKey } from '../seal-life-cycle/seal-material.ts'

export interface SumsSeal {
  seal(sums: Uint8Array): Promise<Uint8Array>
  /** Whether these very sums were sealed here. Rejects with CORE_UNAVAILABLE when the seal cannot be asked. */
  opens(sealed: Uint8Array, sums: Uint8Array): Promise<boolean>
  /**
   * Whether the shares of today are those of the seal records stored there. The sums do not tell: an auto seal outlives a rekey, and a rekey
   * may have come while a snapshot was sent. Rejects as `opens`.
   */
  isFor(records: Pick<Reader, 'get'>): Promise<boolean>
}

export interface SumsSealComponents {
  /** Undefined with Shamir shares. */
  autoSeal: Pick<AutoSeal, 'encrypt' | 'decrypt'> | undefined
  /** A copy. */
  operatorKey(): Promise<OperatorKey>
}

const NONCE_BYTES = 12
const context = new TextEncoder().encode('lockstep snapshot sums v1')

export function sumsSeal({ autoSeal, operatorKey }: SumsSealComponents): SumsSeal {
  // Seals are made for keys: they are given something as short.
  const digestOf = (sums: Uint8Array): Buffer => createHash('sha256').update(context).update(sums).digest()

  async function withKey<T>(body: (key: OperatorKey) => T | Promise<T>): Promise<T> {
    const held = await operatorKey()
    try {
      return await body(held)
    } finally {
      held.key.fill(0)
    }
  }

  async function open(sealed: Uint8Array): Promise<Uint8Array | undefined> {
    return answered(async () => {
      if (autoSeal !== undefined) return autoSeal.decrypt(sealed)
      const [nonce, box] = [sealed.subarray(0, NONCE_BYTES), sealed.subarray(NONCE_BYTES)]
      return withKey(({ key }) => nodeAead().open(key, nonce, box, context))
    })
  }

  /** Undefined when it says no. */
  async function answered<T>(body: () => Promise<T>): Promise<T | undefined> {
    try {
      return await body()
    } catch (cause) {
      if (cause instanceof SealError && cause.code === 'SEAL_UNAVAILABLE') {
        throw new CoreError('CORE_UNAVAILABLE', `the snapshot cannot be checked: ${cause.message}`, { cause })
      }
      if (cause instanceof CoreError) throw cause
      return undefined
    }
  }

  return {
    async seal(sums) {
      const digest = digestOf(sums)
      if (autoSeal !== undefined) return autoSeal.encrypt(digest)
      const nonce = randomBytes(NONCE_BYTES)
      return withKey(({ key }) => Buffer.concat([nonce, nodeAead().seal(key, nonce, digest, context)]))
    },
    async opens(sealed, sums) {
      const opened = await open(sealed)
      const digest = digestOf(sums)
      return opened !== undefined && opened.length === digest.length && timingSafeEqual(opened, digest)
    },
    isFor: async (records) => (await answered(() => withKey((key) => isSealedFor(records, key, autoSeal)))) ?? false,
  }
}
