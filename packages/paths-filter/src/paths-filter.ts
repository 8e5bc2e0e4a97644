/** Which mounts and namespaces a performance secondary may hold. Decided where data is sent. */
import { PathsFilterError } from './errors.ts'
import { isCorePath, normalizePath } from './filter-path.ts'

const MAX_PATHS = 10_000

export type FilterMode = 'allow' | 'deny'

export interface PathsFilterSettings {
  /** `allow`: only these paths are replicated. `deny`: all but these. */
  mode: FilterMode
  /** Mounts (`secret/`, `auth/userpass/`) and namespaces (`ns1/`, with everything below). */
  paths: readonly string[]
}

export interface PathsFilter extends PathsFilterSettings {
  /**
   * Whether data of this mount or namespace may be sent. `mountPath` as in a WAL operation: `secret/`, `auth/x/`,
   * `ns1/secret/`, "" for the core, which is always allowed, as are `sys/`, `identity/`, `cubbyhole/` and `auth/token/`.
   */
  allows(mountPath: string): boolean
  /** What to store, and to give back to `pathsFilter`. */
  toJSON(): { mode: FilterMode; paths: string[] }
}

/**
 * Checks and normalises the settings (leading slash off, trailing slash on, duplicates out). Takes untrusted input: any value
 * that is not of the documented form throws `PathsFilterError`, whose message names the field.
 */
export function pathsFilter(settings: PathsFilterSettings): PathsFilter {
  const mode = checkedMode(settings.mode)
  const covered = new Set(checkedPaths(settings.paths))
  const paths: readonly string[] = Object.freeze([...covered])
  const allowed = mode === 'allow'

  return {
    mode,
    paths,
    allows(mountPath) {
      // Without its slash a path would match nothing, and a deny list would let it through.
      const path = mountPath === '' || mountPath.endsWith('/') ? mountPath : `${mountPath}/`
      return isCorePath(path) || isCovered(covered, path) === allowed
    },
    toJSON: () => ({ mode, paths: [...paths] }),
  }
}

/** The path itself or any folder above it is in the set. */
function isCovered(paths: ReadonlySet<string>, mountPath: string): boolean {
  if (paths.size === 0) return false
  for (let slash = mountPath.indexOf('/'); slash !== -1; slash = mountPath.indexOf('/', slash + 1)) {
    if (paths.has(mountPath.slice(0, slash + 1))) return true
  }
  return false
}

function checkedMode(mode: unknown): FilterMode {
  if (mode === 'allow' || mode === 'deny') return mode
  throw new PathsFilterError('PATHS_FILTER_INVALID_MODE', 'mode', 'must be "allow" or "deny"')
}

function checkedPaths(paths: unknown): string[] {
  if (!Array.isArray(paths)) {
    throw new PathsFilterError('PATHS_FILTER_INVALID_PATHS', 'paths', 'must be a list of mount or namespace paths')
  }
  if (paths.length > MAX_PATHS) {
    throw new PathsFilterError('PATHS_FILTER_INVALID_PATHS', 'paths', `must have at most ${MAX_PATHS} entries`)
  }
  return paths.map((path, index) => normalizePath(path, `paths[${index}]`))
}
