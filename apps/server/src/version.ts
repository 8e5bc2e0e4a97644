/** Lockstep's own version. */
export const LOCKSTEP_VERSION = '0.1.0'

/**
 * The Vault version reported by sys/health and sys/seal-status. Vault's clients (the Terraform provider above all) switch
 * features on by it, so it names the API level this server follows, not this server's release.
 */
export const VAULT_VERSION = '1.18.0'
