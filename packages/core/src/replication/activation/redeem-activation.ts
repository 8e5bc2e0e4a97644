/** Who may fetch the keyring: a secondary activated by public key only once, and only until its token expires. */
import { type Store, transact } from '@lockstep/storage'
import { type Clock, CoreError } from '../../contracts.ts'
import { type KnownSecondary, type ReplicationKind, roleRecords } from '../role-records.ts'

export interface RedeemComponents {
  /** The barrier. */
  storage: Pick<Store, 'begin'>
  clock: Clock
  known(): readonly KnownSecondary[]
}

/**
 * Spending is durable before the keyring leaves, so that a crash cannot make a token good twice. Others pass: their wrapping token was
 * spent when it was unwrapped. Rejects with CORE_PERMISSION_DENIED.
 */
export function redeemActivation(components: RedeemComponents, kind: ReplicationKind): (id: string) => Promise<void> {
  const { storage, clock, known } = components
  return async (id) => {
    const secondary = known().find((candidate) => candidate.id === id)
    if (secondary === undefined) throw refused('the secondary is unknown or was revoked')
    const activation = secondary.sealedActivation
    if (activation === undefined) return
    if (activation.redeemed) throw refused('its activation token was used before')
    if (clock.now() >= activation.expires) throw refused('its activation token has expired')
    // Before the first await: of two requests at once the second is refused.
    activation.redeemed = true
    try {
      await transact(storage, async (transaction) => {
        const records = roleRecords(transaction)
        const stored = await records.secondary(kind, id)
        // What is stored decides: a revocation under way must not be undone by writing the record anew.
        if (stored?.fingerprint !== secondary.fingerprint) throw refused('the secondary is unknown or was revoked')
        if (stored.sealedActivation?.redeemed) throw refused('its activation token was used before')
        await records.saveSecondary(kind, secondary)
      })
    } catch (error) {
      activation.redeemed = false
      throw error
    }
  }
}

/** Whether the token was never used and cannot be any more: such a secondary has no business on the cluster port. */
export function neverRedeemed({ sealedActivation }: KnownSecondary, now: number): boolean {
  return sealedActivation !== undefined && !sealedActivation.redeemed && now >= sealedActivation.expires
}

function refused(message: string): CoreError {
  return new CoreError('CORE_PERMISSION_DENIED', message)
}
