import { KEY_BYTES, NONCE_BYTES } from './aead.ts'
import { BarrierError } from './errors.ts'

/** Both providers refuse the same inputs, whatever their library would accept. */
export function checkKeyAndNonce(key: Uint8Array, nonce: Uint8Array): void {
  if (key.length !== KEY_BYTES) throw new BarrierError('BARRIER_INVALID_KEY', 'the key must be 32 bytes long')
  if (nonce.length !== NONCE_BYTES) throw new BarrierError('BARRIER_INVALID_KEY', 'the nonce must be 12 bytes long')
}
