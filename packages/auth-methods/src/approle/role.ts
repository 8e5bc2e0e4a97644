import type { TokenParams } from '../token-params.ts'

/** A role, JSON under `role/<lower-case name>`. Durations in seconds. */
export interface Role {
  name: string
  roleId: string
  /** Base64; keys the hashes under which the role's secret ids are stored. Replaced with the role. */
  hmacKey: string
  bindSecretId: boolean
  /** Ids are stored on the cluster that made them only. Fixed at creation. */
  localSecretIds: boolean
  secretIdBoundCidrs: string[]
  /** 0 = any number. */
  secretIdNumUses: number
  /** 0 = for ever. */
  secretIdTtl: number
  token: TokenParams
}

/** A role as logins need it; cached. */
export interface LoadedRole extends Role {
  /** Folder of its secret ids, see secret-id-store.ts. */
  folder: string
}
