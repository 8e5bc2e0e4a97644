/** Vault's capability names. One bit each, so that a rule's grant is one number. */
export const capabilityNames = [
  'deny',
  'create',
  'read',
  'update',
  'patch',
  'delete',
  'list',
  'sudo',
  'scan',
  'subscribe',
] as const

export type Capability = (typeof capabilityNames)[number]

/** Position of a capability in `capabilityNames`; its bit is `1 << index`. */
export const capabilityIndex: ReadonlyMap<string, number> = new Map(capabilityNames.map((name, index) => [name, index]))

export function capabilityBit(name: Capability): number {
  return 1 << capabilityIndex.get(name)!
}

export const DENY = capabilityBit('deny')
export const SUDO = capabilityBit('sudo')

/** Sorted names; `["deny"]` when nothing is granted. */
export function capabilityList(bits: number): string[] {
  if (bits === 0 || (bits & DENY) !== 0) return ['deny']
  return capabilityNames.filter((_, index) => (bits & (1 << index)) !== 0).sort()
}

/** What the old `policy = "..."` key stands for. */
export const legacyPolicies: ReadonlyMap<string, readonly Capability[]> = new Map([
  ['deny', ['deny']],
  ['read', ['read', 'list']],
  ['write', ['create', 'read', 'update', 'delete', 'list']],
  ['sudo', ['create', 'read', 'update', 'delete', 'list', 'sudo']],
])
