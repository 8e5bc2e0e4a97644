/**
 * Finds the best of many wildcard patterns for a path. Vault prefers the pattern whose first wildcard comes latest, so the
 * patterns hang in a radix tree under their literal beginning, and the first match on the way from the deepest node back to the
 * root is the answer.
 */
import { type SegmentTree, segmentTree } from './segment-tree.ts'

export interface WildcardPattern<T> {
  /** As written: `+` segments, optional trailing `*`. */
  pattern: string
  value: T
}

interface SegmentCandidate<T> {
  value: T
  prefix: boolean
  /** Without the trailing `*`. */
  text: string
  plusSegments: number
}

interface Node<T> {
  label: string
  children: Map<number, Node<T>>
  /** Value of the plain prefix pattern that ends here. */
  plain: T | undefined
  candidates: SegmentCandidate<T>[]
  /** Patterns by segments that are better than the plain prefix: no `*` at the end, or no segment that is just `+`. */
  before: SegmentTree<T> | undefined
  after: SegmentTree<T> | undefined
  /** Length of the literal beginning. */
  depth: number
  /** Nearest ancestor with patterns. */
  above: Node<T> | undefined
}

export interface PathIndex<T> {
  find(path: string): T | undefined
}

/** Whether a pattern goes by segments; `a/+b` does too, its `+b` is then literal. */
export function hasSegmentWildcard(pattern: string): boolean {
  return pattern === '+' || pattern.startsWith('+/') || pattern.includes('/+')
}

/** @param patterns each pattern once. */
export function pathIndex<T>(patterns: Iterable<WildcardPattern<T>>): PathIndex<T> {
  const root = newNode<T>('')
  for (const { pattern, value } of patterns) {
    const prefix = pattern.endsWith('*')
    const text = prefix ? pattern.slice(0, -1) : pattern
    if (hasSegmentWildcard(pattern)) {
      const plusSegments = text.split('/').filter((segment) => segment === '+').length
      nodeAt(root, text.slice(0, text.indexOf('+'))).candidates.push({ value, prefix, text, plusSegments })
    } else {
      nodeAt(root, text).plain = value
    }
  }
  finish(root, undefined, '')

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
        const found = at.before?.find(path, at.depth) ?? at.plain ?? at.after?.find(path, at.depth)
        if (found !== undefined) return found
      }
      return undefined
    },
  }
}

function nodeAt<T>(root: Node<T>, head: string): Node<T> {
  let node = root
  let rest = head
  while (rest !== '') {
    const child = node.children.get(rest.charCodeAt(0))
    if (child === undefined) {
      const leaf = newNode<T>(rest)
      node.children.set(rest.charCodeAt(0), leaf)
      return leaf
    }
    let shared = 1
    while (shared < child.label.length && child.label[shared] === rest[shared]) shared++
    if (shared < child.label.length) {
      const middle = newNode<T>(child.label.slice(0, shared))
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

function newNode<T>(label: string): Node<T> {
  const none = { plain: undefined, before: undefined, after: undefined, above: undefined }
  return { label, children: new Map(), candidates: [], depth: 0, ...none }
}

function finish<T>(node: Node<T>, above: Node<T> | undefined, parentHead: string): void {
  const head = parentHead + node.label
  node.above = above
  node.depth = head.length
  node.candidates.sort(better)
  const beatsPlain = ({ prefix, plusSegments }: SegmentCandidate<T>) => !prefix || plusSegments === 0
  node.before = treeOf(node.candidates.filter(beatsPlain), head)
  node.after = treeOf(
    node.candidates.filter((candidate) => !beatsPlain(candidate)),
    head,
  )
  node.candidates = []
  const next = node.before ?? node.after ?? node.plain
  for (const child of node.children.values()) finish(child, next === undefined ? above : node, head)
}

function treeOf<T>(candidates: readonly SegmentCandidate<T>[], head: string): SegmentTree<T> | undefined {
  if (candidates.length === 0) return undefined
  const literalStart = head !== '' && !head.endsWith('/')
  return segmentTree(
    candidates.map(({ text, prefix, value }) => ({
      segments: text.slice(head.length).split('/'),
      literalStart,
      prefix,
      value,
    })),
  )
}

function better(a: SegmentCandidate<unknown>, b: SegmentCandidate<unknown>): number {
  if (a.prefix !== b.prefix) return a.prefix ? 1 : -1
  if (a.plusSegments !== b.plusSegments) return a.plusSegments - b.plusSegments
  if (a.text.length !== b.text.length) return b.text.length - a.text.length
  return a.text < b.text ? 1 : -1
}
