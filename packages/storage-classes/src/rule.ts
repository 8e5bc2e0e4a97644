/**
 * `replicated`: sent to every secondary. `local`: sent to disaster recovery secondaries only. `ignored`: stored, but never
 * logged, hashed or sent.
 */
export type StorageClass = 'replicated' | 'local' | 'ignored'
export type ShippedClass = Exclude<StorageClass, 'ignored'>

/** The class of every key that starts with `prefix`, or of the one key `exact`. The longest match decides. */
export type ClassRule = ({ prefix: string } | { exact: string }) & {
  class: StorageClass
  /**
   * The path segment after the prefix is the uuid of a mount or namespace, and the key belongs to its partition rather than to
   * the core's, so that withholding the mount withholds its record too. Only with a prefix that ends in a slash.
   */
  mountFrom?: 'mount' | 'namespace'
}

/** The pattern as text, for messages and for telling rules apart. */
export function patternOf(rule: ClassRule): string {
  return 'exact' in rule ? rule.exact : `${rule.prefix}*`
}
