/** An auto seal as the rest of core uses it: counted, timed, checked, with errors that say so to a client, and with a state of health. */
import { timingSafeEqual } from 'node:crypto'
import { type AutoSeal, SealError } from '@lockstep/seal'
import { CoreError } from '../contracts.ts'
import type { Meter, Sample } from '../metrics/meter.ts'
import { sample } from '../metrics/meter.ts'

export interface WatchedSealComponents {
  seal: AutoSeal
  /** What operators call it; the type by default. */
  name: string
  meter: Meter
  clock: { now(): number }
}

export interface WatchedSeal extends AutoSeal {
  readonly name: string
  /** As of its last use; healthy until then. `unhealthySince` in ms since the epoch. */
  health(): { healthy: true } | { healthy: false; unhealthySince: number }
  samples(): Sample[]
}

/** `encrypt` and `decrypt` reject with CORE_UNAVAILABLE; the cause is the `SealError`. */
export function watchedSeal({ seal, name, meter, clock }: WatchedSealComponents): WatchedSeal {
  const labels = { seal: name }
  let unhealthySince: number | undefined
  for (const counter of ['seal.encrypt', 'seal.decrypt', 'seal.encrypt.error', 'seal.decrypt.error'] as const) {
    meter.count(counter, 0, labels)
  }

  async function observed<T>(operation: 'encrypt' | 'decrypt', work: () => Promise<T>): Promise<T> {
    meter.count(`seal.${operation}`, 1, labels)
    try {
      const result = await meter.time(`seal.${operation}.time`, work, labels)
      unhealthySince = undefined
      return result
    } catch (cause) {
      meter.count(`seal.${operation}.error`, 1, labels)
      // A damaged envelope says nothing about who was asked to open it.
      if ((cause as { code?: unknown }).code !== 'SEAL_DECRYPTION_FAILED') unhealthySince ??= clock.now()
      throw new CoreError('CORE_UNAVAILABLE', `auto seal ${name}: ${reason(cause)}`, { cause })
    }
  }

  return {
    name,
    type: seal.type,
    get keyId() {
      return seal.keyId
    },
    /** What it could not open again must not be stored: a policy may allow the one and not the other. */
    async encrypt(plaintext) {
      const envelope = await observed('encrypt', () => seal.encrypt(plaintext))
      const opened = await observed('decrypt', () => seal.decrypt(envelope))
      const same = opened.length === plaintext.length && timingSafeEqual(opened, plaintext)
      opened.fill(0)
      if (!same) throw new CoreError('CORE_UNAVAILABLE', `auto seal ${name}: it does not open what it sealed`)
      return envelope
    },
    decrypt: (envelope) => observed('decrypt', () => seal.decrypt(envelope)),
    keyIdOf: (envelope) => seal.keyIdOf(envelope),
    close: () => seal.close(),
    health: () => (unhealthySince === undefined ? { healthy: true } : { healthy: false, unhealthySince }),
    samples() {
      const unreachable = unhealthySince === undefined ? 0 : clock.now() - unhealthySince
      return [sample('seal.unreachable.time', unreachable, labels)]
    },
  }
}

/** Texts of a `SealError` hold no key and no token; others might. */
function reason(error: unknown): string {
  return error instanceof SealError ? error.message : 'it gave an error'
}
