import { isIP, isIPv4 } from 'node:net'
import { readJson, writeJson } from '@lockstep/backend'
import type { Store } from '@lockstep/storage'

/** A token role as stored at `roles/<name>`. Durations in seconds. */
export interface TokenRole {
  name: string
  allowedPolicies: string[]
  allowedPoliciesGlob: string[]
  disallowedPolicies: string[]
  disallowedPoliciesGlob: string[]
  allowedEntityAliases: string[] | null
  orphan: boolean
  renewable: boolean
  pathSuffix: string
  tokenType: 'default-service' | 'default-batch' | 'service' | 'batch'
  period: number
  explicitMaxTtl: number
  noDefaultPolicy: boolean
  numUses: number
  boundCidrs: string[]
  /** Set through the old names `period` and `explicit_max_ttl`, and then shown under them too. */
  legacyPeriod: boolean
  legacyExplicitMaxTtl: boolean
}

export function newRole(name: string): TokenRole {
  return {
    name,
    allowedPolicies: [],
    allowedPoliciesGlob: [],
    disallowedPolicies: [],
    disallowedPoliciesGlob: [],
    allowedEntityAliases: null,
    orphan: false,
    renewable: true,
    pathSuffix: '',
    tokenType: 'default-service',
    period: 0,
    explicitMaxTtl: 0,
    noDefaultPolicy: false,
    numUses: 0,
    boundCidrs: [],
    legacyPeriod: false,
    legacyExplicitMaxTtl: false,
  }
}

const roleKey = (name: string) => `roles/${name}`

export function readRole(storage: Pick<Store, 'get'>, name: string): Promise<TokenRole | undefined> {
  return readJson<TokenRole>(storage, roleKey(name.toLowerCase()))
}

export function writeRole(storage: Pick<Store, 'put'>, role: TokenRole): Promise<void> {
  return writeJson(storage, roleKey(role.name), role)
}

export function deleteRole(storage: Pick<Store, 'delete'>, name: string): Promise<void> {
  return storage.delete(roleKey(name.toLowerCase()))
}

/** Whether a role decides policies itself instead of the subset rule. */
export function restrictsPolicies(role: TokenRole): boolean {
  const { allowedPolicies, allowedPoliciesGlob, disallowedPolicies, disallowedPoliciesGlob } = role
  return [allowedPolicies, allowedPoliciesGlob, disallowedPolicies, disallowedPoliciesGlob].some(
    (list) => list.length > 0,
  )
}

/** An address, or an address and a prefix length. */
export function isCidr(text: string): boolean {
  const [address, bits, ...more] = text.split('/')
  if (isIP(address!) === 0 || more.length > 0) return false
  return bits === undefined || (/^[0-9]{1,3}$/.test(bits) && Number(bits) <= (isIPv4(address!) ? 32 : 128))
}
