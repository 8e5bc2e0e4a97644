/**
 * The sums of a snapshot under what unseals the cluster: who opens them has the same unseal keys, or the same auto seal. As in Vault,
 * a snapshot of before a rekey does not open.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { nodeAead } from '@lockstep/barrier'
import { type AutoSeal, SealError } from '@lockstep/seal'
import { CoreError } from '../contracts.ts'
import type { OperatorKey } from '../seal-life-cycle/seal-material.ts'

export interface SumsSeal {
  seal(sums: Uint8Array): Promise<Uint8Array>
  /** Whether these very sums were sealed here. Rejects with CORE_UNAVAILABLE when the seal cannot be asked. */
  opens(sealed: Uint8Array, sums: Uint8Array): Promise<boolean>
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

  async function withKey<T>(body: (key: Uint8Array) => T): Promise<T> {
    const { key } = await operatorKey()
    try {
      return body(key)
    } finally {
      key.fill(0)
    }
  }

  async function open(sealed: Uint8Array): Promise<Uint8Array | undefined> {
    try {
      if (autoSeal !== undefined) return await autoSeal.decrypt(sealed)
      const [nonce, box] = [sealed.subarray(0, NONCE_BYTES), sealed.subarray(NONCE_BYTES)]
      return await withKey((key) => nodeAead().open(key, nonce, box, context))
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
      return withKey((key) => Buffer.concat([nonce, nodeAead().seal(key, nonce, digest, context)]))
    },
    async opens(sealed, sums) {
      const opened = await open(sealed)
      const digest = digestOf(sums)
      return opened !== undefined && opened.length === digest.length && timingSafeEqual(opened, digest)
    },
  }
}
