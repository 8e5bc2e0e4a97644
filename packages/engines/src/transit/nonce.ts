import { randomFillSync } from 'node:crypto'

// One call of the generator per 341 nonces: it costs more than the encryption of a short message. Nonces are public.
const pool = Buffer.alloc(4092)
let used = pool.length

/** A random AEAD nonce of 96 bits. */
export function randomNonce(): Buffer {
  if (used + 12 > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const nonce = Buffer.allocUnsafe(12)
  pool.copy(nonce, 0, used, used + 12)
  used += 12
  return nonce
}
