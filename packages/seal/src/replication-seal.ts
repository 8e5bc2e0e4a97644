/** What happens to a secondary's seal when it joins a primary: one rule for performance and disaster recovery. */
export type SealKind = 'shamir' | 'auto'

/** The shares that open the secondary's seal, or recover it, come from one of the primary's two configurations. */
export type ShareSource = 'primary-seal' | 'primary-recovery'

export interface SealAfterReplication {
  /** Whose shares unseal the secondary; `own-auto-seal`: it keeps opening by itself. */
  unseal: ShareSource | 'own-auto-seal'
  /** Whose shares are its recovery keys; `none` for a Shamir seal, which has no such keys. */
  recovery: ShareSource | 'none'
}

/** The seal matrix of Vault Enterprise's replication guide. */
export function sealAfterReplication(primary: SealKind, secondary: SealKind): SealAfterReplication {
  const shares: ShareSource = primary === 'shamir' ? 'primary-seal' : 'primary-recovery'
  return secondary === 'shamir' ? { unseal: shares, recovery: 'none' } : { unseal: 'own-auto-seal', recovery: shares }
}
