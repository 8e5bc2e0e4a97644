/** The receiver's check of a key against the partition its sender says it is in. */
import type { Registry } from './class-rules.ts'
import { StorageClassError } from './errors.ts'
import { CORE, isMountId, mountFolderLength, NAMESPACES, segmentAt } from './mount.ts'
import type { ShippedClass } from './rule.ts'

interface Expected {
  mount: string
  /** Undefined: both are possible. */
  class: ShippedClass | undefined
}

export function verifyTag(
  registry: Registry,
  key: string,
  partition: { class: ShippedClass; mount: string },
  classes: readonly ShippedClass[] = ['replicated', 'local'],
): void {
  const problem = classes.includes(partition.class)
    ? mismatch(expectedOf(registry, key), partition)
    : `this cluster does not take keys of class ${partition.class}`
  if (problem === undefined) return
  throw new StorageClassError('STORAGE_CLASS_TAG_REFUSED', `the key ${key} was refused: ${problem}`)
}

function mismatch(
  expected: Expected | undefined,
  partition: { class: ShippedClass; mount: string },
): string | undefined {
  if (expected === undefined) return 'it is not of a kind that is replicated'
  if (expected.mount !== partition.mount) return 'it does not belong to the mount it was sent for'
  if (expected.class !== undefined && expected.class !== partition.class) return `it is not of class ${partition.class}`
  return undefined
}

function expectedOf(registry: Registry, key: string): Expected | undefined {
  let start = 0
  let scope: string = CORE
  if (key.startsWith(NAMESPACES)) {
    scope = segmentAt(key, NAMESPACES.length)
    start = NAMESPACES.length + scope.length + 1
    if (!isMountId(scope) || start > key.length || registry.owner(scope)?.kind === 'mount') return undefined
  }
  const folder = mountFolderLength(key, start)
  if (folder > 0) return mountData(registry, key, start + folder)

  const match = registry.tree.match(key, start)
  if (match === undefined || match.rule.class === 'ignored') return undefined
  const { class: storageClass, mountFrom } = match.rule
  if (mountFrom === undefined) return { mount: scope, class: storageClass }
  const mount = segmentAt(key, match.end)
  const owner = registry.owner(mount)
  if (!isMountId(mount) || (owner !== undefined && owner.kind !== mountFrom)) return undefined
  if (owner?.recordClass !== undefined && owner.recordClass !== storageClass) return undefined
  return { mount, class: storageClass }
}

function mountData(registry: Registry, key: string, uuidStart: number): Expected | undefined {
  const mount = segmentAt(key, uuidStart)
  if (!isMountId(mount) || key[uuidStart + mount.length] !== '/') return undefined
  const owner = registry.owner(mount)
  if (owner === undefined) return { mount, class: undefined }
  if (owner.dataPrefix === undefined || !key.startsWith(owner.dataPrefix)) return undefined
  return { mount, class: owner.classOf(key) }
}
