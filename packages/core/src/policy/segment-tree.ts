/**
 * Patterns with `+` segments that share their literal beginning. A trie by segments, so that a path is compared with the few
 * patterns that fit it, not with all; of those that match, the one added first wins.
 */
export interface SegmentPattern<T> {
  /** What follows the literal beginning, split at slashes. */
  segments: readonly string[]
  /** The first segment is the rest of a literal one, and `+` in it no wildcard. */
  literalStart: boolean
  /** The last segment matches anything that begins with it. */
  prefix: boolean
  value: T
}

interface Leaf<T> {
  rank: number
  value: T
}

interface Node<T> {
  literals: Map<string, Node<T>>
  plus: Node<T> | undefined
  /** Patterns that end here. */
  leaf: Leaf<T> | undefined
  /** Prefix patterns whose last segment, the key, is still to be compared. */
  prefixes: { start: string; leaf: Leaf<T> }[]
}

export interface SegmentTree<T> {
  /** The best match of the path from `start` on. */
  find(path: string, start: number): T | undefined
}

/** @param patterns best first. */
export function segmentTree<T>(patterns: readonly SegmentPattern<T>[]): SegmentTree<T> {
  const root = node<T>()
  for (const [rank, pattern] of patterns.entries()) add(root, pattern, { rank, value: pattern.value })
  return { find: (path, start) => best(root, path, start, undefined)?.value }
}

function add<T>(root: Node<T>, { segments, literalStart, prefix }: SegmentPattern<T>, leaf: Leaf<T>): void {
  let at = root
  const last = segments.length - 1
  for (const [index, segment] of segments.entries()) {
    if (index === last && prefix) {
      at.prefixes.push({ start: segment, leaf })
      return
    }
    if (segment === '+' && !(literalStart && index === 0)) {
      at.plus ??= node()
      at = at.plus
    } else {
      let next = at.literals.get(segment)
      if (next === undefined) {
        next = node()
        at.literals.set(segment, next)
      }
      at = next
    }
  }
  at.leaf ??= leaf
}

function best<T>(at: Node<T>, path: string, start: number, found: Leaf<T> | undefined): Leaf<T> | undefined {
  let result = found
  for (const { start: text, leaf } of at.prefixes) {
    if ((result === undefined || leaf.rank < result.rank) && path.startsWith(text, start)) result = leaf
  }
  if (at.literals.size === 0 && at.plus === undefined) return result
  const slash = path.indexOf('/', start)
  const literal = at.literals.get(slash === -1 ? path.slice(start) : path.slice(start, slash))
  for (const next of [literal, at.plus]) {
    if (next === undefined) continue
    if (slash !== -1) result = best(next, path, slash + 1, result)
    else if (next.leaf !== undefined && (result === undefined || next.leaf.rank < result.rank)) result = next.leaf
  }
  return result
}

function node<T>(): Node<T> {
  return { literals: new Map(), plus: undefined, leaf: undefined, prefixes: [] }
}
