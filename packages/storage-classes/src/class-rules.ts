/** Decides the class of every stored key. A key that nothing covers has no class and must not be written. */
import { StorageClassError } from './errors.ts'
import {
  CORE,
  isMountId,
  MOUNT_FOLDERS,
  type MountRegistration,
  mountFolderLength,
  mountOwner,
  NAMESPACES,
  type NamespaceRegistration,
  namespaceOwner,
  type Owner,
  type Placement,
  segmentAt,
} from './mount.ts'
import type { ClassRule, ShippedClass } from './rule.ts'
import { type RuleTree, ruleTree } from './rule-tree.ts'
import { verifyTag } from './tag.ts'

/** `mount`: a mount's or namespace's uuid, or "core". `mountPath`: what a paths filter sees, "" for the core. */
export type KeyClass = { readonly class: 'ignored' } | Placement

export interface TagOptions {
  /** Classes this receiver may hold: a performance secondary only `replicated`. Default both. */
  classes?: readonly ShippedClass[]
}

export interface ClassRules {
  /** Throws `STORAGE_CLASS_UNKNOWN_KEY`. The result must not be changed. */
  classify(key: string): KeyClass
  /**
   * For a receiver: throws `STORAGE_CLASS_TAG_REFUSED` unless the key can be in this partition: by its form, by the classes this
   * receiver may hold, and, where the mount is registered here, by our own classification. Mounts not seen yet are judged by
   * form alone, because a mount's first data may come in one batch with its record.
   */
  verifyTagged(key: string, partition: { class: ShippedClass; mount: string }, options?: TagOptions): void
  /** Replaces an earlier registration of the same uuid. Throws `STORAGE_CLASS_INVALID_MOUNT`. */
  registerMount(mount: MountRegistration): void
  /** Unknown uuids are no error. */
  unregisterMount(uuid: string): void
  registerNamespace(namespace: NamespaceRegistration): void
  unregisterNamespace(uuid: string): void
  /** Path of a partition's mount: "" for "core", undefined for one that is not registered. */
  mountPath(mount: string): string | undefined
}

export interface Registry {
  readonly tree: RuleTree
  owner(uuid: string): Owner | undefined
}

const IGNORED: KeyClass = Object.freeze({ class: 'ignored' })
const CORE_PLACEMENT = {
  replicated: Object.freeze({ class: 'replicated', mount: CORE, mountPath: '' } as const),
  local: Object.freeze({ class: 'local', mount: CORE, mountPath: '' } as const),
}

/** Throws `STORAGE_CLASS_INVALID_RULE` for rules that repeat or that claim a folder of mounts. */
export function classRules(rules: readonly ClassRule[]): ClassRules {
  for (const rule of rules) checkReserved(rule)
  const owners = new Map<string, Owner>()
  const registry: Registry = { tree: ruleTree(rules), owner: (uuid) => owners.get(uuid) }
  const unregister = (uuid: string, kind: Owner['kind']): void => {
    if (owners.get(uuid)?.kind === kind) owners.delete(uuid)
  }
  const register = (uuid: string, owner: Owner): void => {
    const present = owners.get(uuid)
    if (present !== undefined && present.kind !== owner.kind) {
      throw new StorageClassError('STORAGE_CLASS_INVALID_MOUNT', `${uuid} is registered as a ${present.kind}`)
    }
    owners.set(uuid, owner)
  }

  return {
    classify: (key) => classify(registry, key) ?? unknownKey(key),
    verifyTagged: (key, partition, options = {}) => verifyTag(registry, key, partition, options.classes),
    registerMount: (mount) => register(mount.uuid, mountOwner(mount, dataPrefix(registry.tree, mount))),
    unregisterMount: (uuid) => unregister(uuid, 'mount'),
    registerNamespace: (namespace) => register(namespace.uuid, namespaceOwner(namespace)),
    unregisterNamespace: (uuid) => unregister(uuid, 'namespace'),
    mountPath: (mount) => (mount === CORE ? '' : owners.get(mount)?.mountPath),
  }
}

function classify(registry: Registry, key: string): KeyClass | undefined {
  let start = 0
  let scope: Placements = CORE_PLACEMENT
  if (key.startsWith(NAMESPACES)) {
    const end = key.indexOf('/', NAMESPACES.length)
    const namespace = registry.owner(key.slice(NAMESPACES.length, end))
    if (end === -1 || namespace?.kind !== 'namespace') return undefined
    start = end + 1
    scope = namespace
  }
  const folder = mountFolderLength(key, start)
  if (folder > 0) {
    const end = key.indexOf('/', start + folder)
    const mount = registry.owner(key.slice(start + folder, end))
    if (end === -1 || mount?.dataPrefix === undefined || !key.startsWith(mount.dataPrefix)) return undefined
    return mount[mount.classOf(key)]
  }
  const match = registry.tree.match(key, start)
  if (match === undefined) return undefined
  const { class: storageClass, mountFrom } = match.rule
  if (storageClass === 'ignored') return IGNORED
  if (mountFrom === undefined) return scope[storageClass]
  const owner = registry.owner(segmentAt(key, match.end))
  if (owner?.kind !== mountFrom) return undefined
  if (owner.recordClass !== undefined && owner.recordClass !== storageClass) return undefined
  return owner[storageClass]
}

type Placements = Record<ShippedClass, Placement>

function dataPrefix(tree: RuleTree, { keyPrefix, uuid }: MountRegistration): string | undefined {
  const invalid = (problem: string) =>
    new StorageClassError('STORAGE_CLASS_INVALID_MOUNT', `mount ${uuid}: the key prefix ${problem}`)
  if (!keyPrefix.endsWith('/')) throw invalid('must end in a slash')
  let start = 0
  if (keyPrefix.startsWith(NAMESPACES)) {
    const namespace = segmentAt(keyPrefix, NAMESPACES.length)
    if (!isMountId(namespace)) throw invalid('names no namespace')
    start = NAMESPACES.length + namespace.length + 1
  }
  const folder = mountFolderLength(keyPrefix, start)
  if (folder > 0) {
    if (keyPrefix.slice(start + folder) !== `${uuid}/`) throw invalid('must end in the uuid')
    return keyPrefix
  }
  // Its data has the classes that the declared rules give it.
  if (!tree.covers(keyPrefix, start)) throw invalid('is covered by no rule')
  return undefined
}

function checkReserved(rule: ClassRule): void {
  const path = 'exact' in rule ? rule.exact : rule.prefix
  for (const reserved of [...MOUNT_FOLDERS, NAMESPACES]) {
    if (path.startsWith(reserved) || ('prefix' in rule && reserved.startsWith(path))) {
      throw new StorageClassError(
        'STORAGE_CLASS_INVALID_RULE',
        `${reserved} holds what is registered; no rule may claim it`,
      )
    }
  }
}

function unknownKey(key: string): never {
  throw new StorageClassError('STORAGE_CLASS_UNKNOWN_KEY', `no storage class is declared for the key ${key}`)
}
