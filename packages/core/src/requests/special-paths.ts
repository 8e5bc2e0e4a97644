import type { Backend, SpecialPaths } from '@lockstep/backend'

/** Tells whether a path relative to the mount is in a declared set: exact, `prefix*`, or with `+` for a whole segment. */
export type PathSet = (path: string) => boolean

export interface SpecialPathSets {
  unauthenticated: PathSet
  sudo: PathSet
  forwardPerformanceSecondary: PathSet
}

const none: PathSet = () => false
const compiled = new WeakMap<SpecialPaths, SpecialPathSets>()

/** The compiled sets of a backend, kept as long as the backend lives. */
export function specialPaths(backend: Backend): SpecialPathSets {
  const { special } = backend
  let sets = compiled.get(special)
  if (sets === undefined) {
    sets = {
      unauthenticated: pathSet(special.unauthenticated),
      sudo: pathSet(special.sudo),
      forwardPerformanceSecondary: pathSet(special.forwardPerformanceSecondary),
    }
    compiled.set(special, sets)
  }
  return sets
}

export function pathSet(patterns: readonly string[] | undefined): PathSet {
  if (patterns === undefined || patterns.length === 0) return none
  const exact = new Set<string>()
  const prefixes: string[] = []
  const wildcards: { segments: string[]; prefix: boolean }[] = []
  for (const pattern of patterns) {
    const prefix = pattern.endsWith('*')
    const text = prefix ? pattern.slice(0, -1) : pattern
    if (text.split('/').includes('+')) wildcards.push({ segments: text.split('/'), prefix })
    else if (prefix) prefixes.push(text)
    else exact.add(text)
  }
  return (path) =>
    exact.has(path) ||
    prefixes.some((prefix) => path.startsWith(prefix)) ||
    (wildcards.length > 0 && wildcards.some((wildcard) => matches(wildcard, path.split('/'))))
}

function matches({ segments, prefix }: { segments: string[]; prefix: boolean }, parts: string[]): boolean {
  if (prefix ? parts.length < segments.length : parts.length !== segments.length) return false
  return segments.every((segment, index) => {
    const part = parts[index]!
    if (segment === '+') return part !== ''
    return prefix && index === segments.length - 1 ? part.startsWith(segment) : part === segment
  })
}
