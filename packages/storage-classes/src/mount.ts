/** Mounts and namespaces as their owners register them, and what follows for the keys below them. */
import { StorageClassError } from './errors.ts'
import type { ShippedClass } from './rule.ts'

/** The partition of keys that belong to no mount. */
export const CORE = 'core'
/** First segments under which mounts keep their data, as `<folder>/<uuid>/`. */
export const MOUNT_FOLDERS: readonly string[] = ['logical/', 'auth/', 'audit/']
export const NAMESPACES = 'namespaces/'

export interface MountRegistration {
  /** Letters, digits, `-` and `_`; at most 64. Names the mount's partition. */
  uuid: string
  /**
   * Where the mount's data lives: `logical/<uuid>/`, `auth/<uuid>/` or `audit/<uuid>/`, in a namespace below
   * `namespaces/<uuid>/`. Or a folder the declared rules cover (`sys/`), when only the mount's record is its own.
   */
  keyPrefix: string
  /** What a paths filter sees: `secret/`, `auth/userpass/`, `ns1/secret/`. */
  mountPath: string
  /** The whole mount is of class `local`. */
  local: boolean
  /**
   * Parts of a shared mount that are `local`, relative to `keyPrefix`: `certs/` (a folder), `crl` (this key, and the folder of
   * that name), `cache-*` (all that starts so).
   */
  localStorage: readonly string[]
}

export interface NamespaceRegistration {
  uuid: string
  /** With trailing slash: `ns1/`, `ns1/team/`. */
  path: string
}

export interface Placement {
  readonly class: ShippedClass
  readonly mount: string
  readonly mountPath: string
}

/** What is registered under a uuid; `place` gives one shared object per class, so that classifying allocates nothing. */
export interface Owner {
  readonly kind: 'mount' | 'namespace'
  /** Undefined: it has no data folder of its own. */
  readonly dataPrefix: string | undefined
  /** The class that its record must have; undefined: either. */
  readonly recordClass: ShippedClass | undefined
  readonly mountPath: string
  readonly replicated: Placement
  readonly local: Placement
  /** Class of a key below `dataPrefix`. */
  classOf(key: string): ShippedClass
}

export function mountOwner(mount: MountRegistration, dataPrefix: string | undefined): Owner {
  const { uuid, mountPath, local } = mount
  checkUuid(uuid)
  checkPath(mountPath)
  const isLocal = localStorageMatcher(mount)
  const start = mount.keyPrefix.length
  return {
    kind: 'mount',
    dataPrefix,
    recordClass: local ? 'local' : 'replicated',
    ...placements(uuid, mountPath),
    classOf: local ? () => 'local' : (key) => (isLocal(key, start) ? 'local' : 'replicated'),
  }
}

export function namespaceOwner({ uuid, path }: NamespaceRegistration): Owner {
  checkUuid(uuid)
  checkPath(path)
  return {
    kind: 'namespace',
    dataPrefix: undefined,
    recordClass: undefined,
    ...placements(uuid, path),
    classOf: () => 'replicated',
  }
}

/** Whether a text can name a partition of a mount at all. */
export function isMountId(text: string): boolean {
  return text !== CORE && /^[A-Za-z0-9_-]{1,64}$/.test(text)
}

/** Length of `logical/` and the like at `start`, 0 when the key is not in such a folder. */
export function mountFolderLength(key: string, start: number): number {
  for (const folder of MOUNT_FOLDERS) if (key.startsWith(folder, start)) return folder.length
  return 0
}

export function segmentAt(key: string, start: number): string {
  const slash = key.indexOf('/', start)
  return slash === -1 ? key.slice(start) : key.slice(start, slash)
}

function placements(mount: string, mountPath: string) {
  return {
    mountPath,
    replicated: Object.freeze({ class: 'replicated', mount, mountPath } as const),
    local: Object.freeze({ class: 'local', mount, mountPath } as const),
  }
}

function localStorageMatcher({ localStorage, uuid }: MountRegistration): (key: string, start: number) => boolean {
  const prefixes: string[] = []
  const names: string[] = []
  for (const entry of localStorage) {
    if (entry === '' || entry === '*' || entry.startsWith('/')) {
      throw new StorageClassError('STORAGE_CLASS_INVALID_MOUNT', `mount ${uuid}: local storage needs a relative path`)
    }
    if (entry.endsWith('*')) prefixes.push(entry.slice(0, -1))
    else if (entry.endsWith('/')) prefixes.push(entry)
    else {
      names.push(entry)
      prefixes.push(`${entry}/`)
    }
  }
  if (prefixes.length === 0) return () => false
  return (key, start) =>
    prefixes.some((prefix) => key.startsWith(prefix, start)) ||
    names.some((name) => key.length === start + name.length && key.endsWith(name))
}

function checkUuid(uuid: string): void {
  if (!isMountId(uuid)) throw new StorageClassError('STORAGE_CLASS_INVALID_MOUNT', 'a mount needs a uuid')
}

function checkPath(path: string): void {
  if (path.length < 2 || !path.endsWith('/') || path.startsWith('/')) {
    throw new StorageClassError('STORAGE_CLASS_INVALID_MOUNT', 'a mount path ends, and does not begin, with a slash')
  }
}
