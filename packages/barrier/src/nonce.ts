import { randomFillSync } from 'node:crypto'
import { NONCE_BYTES } from './aead.ts'

const POOL_BYTES = NONCE_BYTES * 256

/** Source of random 96-bit nonces. One call to the system's generator fills many; none is handed out twice. */
export function noncePool(): () => Uint8Array {
  let pool = new Uint8Array(0)
  let used = 0
  return () => {
    if (used === pool.length) {
      pool = randomFillSync(new Uint8Array(POOL_BYTES))
      used = 0
    }
    const nonce = pool.subarray(used, used + NONCE_BYTES)
    used += NONCE_BYTES
    return nonce
  }
}
