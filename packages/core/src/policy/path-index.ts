/**
 * Finds the best of many wildcard patterns for a path. A radix tree over the literal text before each pattern's first wildcard;
 * every node keeps its patterns best first. Vault prefers the pattern whose first wildcard comes latest, so the first match on
 * the way from the deepest node back to the root is the answer, and a lookup allocates nothing.
 */
export interface WildcardPattern<T> {
  /** As written: `+` segments, optional trailing `*`. */
  pattern: string
  value: T
}

interface Candidate<T> {
  value: T
  prefix: boolean
  /** Without the trailing `*`. */
  text: string
  plusSegments: number
  /** undefined: no `+`, the node's own text is the whole prefix. */
  segments: readonly string[] | undefined
}

interface Node<T> {
  label: string
  children: Map<number, Node<T>>
  candidates: Candidate<T>[]
  /** Nearest ancestor with candidates. */
  above: Node<T> | undefined
}

export interface PathIndex<T> {
  find(path: string): T | undefined
}

/** Whether a pattern goes by segments; `a/+b` does too, its `+b` is then literal. */
export function hasSegmentWildcard(pattern: string): boolean {
  return pattern === '+' || pattern.startsWith('+/') || pattern.includes('/+')
}

export function pathIndex<T>(patterns: Iterable<WildcardPattern<T>>): PathIndex<T> {
  const root: Node<T> = { label: '', children: new Map(), candidates: [], above: undefined }
  for (const { pattern, value } of patterns) {
    const prefix = pattern.endsWith('*')
    const text = prefix ? pattern.slice(0, -1) : pattern
    const byParts = hasSegmentWildcard(pattern)
    const segments = byParts ? text.split('/') : undefined
    const plusSegments = segments?.filter((segment) => segment === '+').length ?? 0
    const head = byParts ? text.slice(0, text.indexOf('+')) : text
    nodeAt(root, head).candidates.push({ value, prefix, text, plusSegments, segments })
  }
  finish(root, undefined)
  return {
    find(path) {
      let node = root
      let position = 0
      for (;;) {
        const child = node.children.get(path.charCodeAt(position))
        if (child === undefined || !path.startsWith(child.label, position)) break
        node = child
        position += child.label.length
      }
      for (let at: Node<T> | undefined = node; at !== undefined; at = at.above) {
        for (const candidate of at.candidates) {
          if (candidate.segments === undefined || segmentsMatch(candidate.segments, candidate.prefix, path)) {
            return candidate.value
          }
        }
      }
      return undefined
    },
  }
}

function segmentsMatch(segments: readonly string[], prefix: boolean, path: string): boolean {
  const last = segments.length - 1
  let start = 0
  for (let index = 0; index < last; index++) {
    const end = path.indexOf('/', start)
    if (end === -1) return false
    const segment = segments[index]!
    if (segment !== '+' && (segment.length !== end - start || !path.startsWith(segment, start))) return false
    start = end + 1
  }
  const segment = segments[last]!
  if (prefix) return path.startsWith(segment, start)
  if (path.indexOf('/', start) !== -1) return false
  return segment === '+' || (segment.length === path.length - start && path.endsWith(segment))
}

function nodeAt<T>(root: Node<T>, head: string): Node<T> {
  let node = root
  let rest = head
  while (rest !== '') {
    const child = node.children.get(rest.charCodeAt(0))
    if (child === undefined) {
      const leaf: Node<T> = { label: rest, children: new Map(), candidates: [], above: undefined }
      node.children.set(rest.charCodeAt(0), leaf)
      return leaf
    }
    let shared = 1
    while (shared < child.label.length && child.label[shared] === rest[shared]) shared++
    if (shared < child.label.length) {
      const middle: Node<T> = {
        label: child.label.slice(0, shared),
        children: new Map(),
        candidates: [],
        above: undefined,
      }
      child.label = child.label.slice(shared)
      middle.children.set(child.label.charCodeAt(0), child)
      node.children.set(rest.charCodeAt(0), middle)
      node = middle
    } else {
      node = child
    }
    rest = rest.slice(shared)
  }
  return node
}

function finish<T>(node: Node<T>, above: Node<T> | undefined): void {
  node.above = above
  node.candidates.sort(better)
  const next = node.candidates.length > 0 ? node : above
  for (const child of node.children.values()) finish(child, next)
}

function better(a: Candidate<unknown>, b: Candidate<unknown>): number {
  if (a.prefix !== b.prefix) return a.prefix ? 1 : -1
  if (a.plusSegments !== b.plusSegments) return a.plusSegments - b.plusSegments
  if (a.text.length !== b.text.length) return b.text.length - a.text.length
  return a.text < b.text ? 1 : -1
}
