/** Who may fetch the keyring: a secondary activated by public key only once, and only until its token expires. */
import { type Clock, CoreError } from '../../contracts.ts'
import type { KnownSecondary, ReplicationKind, RoleRecords } from '../role-records.ts'

export interface RedeemComponents {
  records: Pick<RoleRecords, 'saveSecondary'>
  clock: Clock
  known(): readonly KnownSecondary[]
}

/**
 * Spending is durable before the keyring leaves, so that a crash cannot make a token good twice. Others pass: their wrapping token was
 * spent when it was unwrapped. Rejects with CORE_PERMISSION_DENIED.
 */
export function redeemActivation(components: RedeemComponents, kind: ReplicationKind): (id: string) => Promise<void> {
  const { records, clock, known } = components
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
      await records.saveSecondary(kind, secondary)
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
