/** Whether two policy lists grant the same; order, case, repetition and `default` do not matter. */
export function equalPolicies(a: readonly string[], b: readonly string[]): boolean {
  const setA = normal(a)
  const setB = normal(b)
  return setA.size === setB.size && [...setA].every((policy) => setB.has(policy))
}

function normal(policies: readonly string[]): Set<string> {
  const set = new Set(policies.map((policy) => policy.trim().toLowerCase()))
  set.delete('default')
  set.delete('')
  return set
}
