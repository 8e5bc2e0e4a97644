/**
 * Finds the pattern for a path: a trie over segments. A literal segment wins over `:name`, which wins over `:name*`; a dead end is
 * retried with the next kind.
 */
interface Node<T> {
  literals: Map<string, Node<T>>
  parameter: Node<T> | undefined
  leaf: Leaf<T> | undefined
  rest: Leaf<T> | undefined
}

interface Leaf<T> {
  names: readonly string[]
  value: T
}

export interface PathMatch<T> {
  value: T
  params: Record<string, string>
}

export interface PathMatcher<T> {
  match(path: string): PathMatch<T> | undefined
}

const parameter = /^:[A-Za-z_][A-Za-z0-9_]*$/
const rest = /^:[A-Za-z_][A-Za-z0-9_]*\*$/
const noParams: Record<string, string> = Object.freeze({})

/** @throws TypeError for a malformed pattern or two patterns that match the same paths. */
export function pathMatcher<T>(patterns: Iterable<readonly [pattern: string, value: T]>): PathMatcher<T> {
  const root = node<T>()
  for (const [pattern, value] of patterns) add(root, pattern, value)
  return {
    match(path) {
      const values: string[] = []
      const leaf = path === '' ? root.leaf : find(root, path, 0, values)
      if (leaf === undefined) return undefined
      if (values.length === 0) return { value: leaf.value, params: noParams }
      const params: Record<string, string> = {}
      for (let index = 0; index < values.length; index++) params[leaf.names[index]!] = values[index]!
      return { value: leaf.value, params }
    },
  }
}

function find<T>(current: Node<T>, path: string, start: number, values: string[]): Leaf<T> | undefined {
  const slash = path.indexOf('/', start)
  const segment = slash === -1 ? path.slice(start) : path.slice(start, slash)
  const depth = values.length

  const literal = current.literals.get(segment)
  if (literal !== undefined) {
    const leaf = slash === -1 ? literal.leaf : find(literal, path, slash + 1, values)
    if (leaf !== undefined) return leaf
    values.length = depth
  }
  if (current.parameter !== undefined && segment !== '') {
    values.push(segment)
    const leaf = slash === -1 ? current.parameter.leaf : find(current.parameter, path, slash + 1, values)
    if (leaf !== undefined) return leaf
    values.length = depth
  }
  if (current.rest !== undefined && start < path.length) {
    values.push(start === 0 ? path : path.slice(start))
    return current.rest
  }
  return undefined
}

function add<T>(root: Node<T>, pattern: string, value: T): void {
  const names: string[] = []
  const segments = pattern === '' ? [] : pattern.split('/')
  let current = root
  for (const [index, segment] of segments.entries()) {
    if (rest.test(segment) && index === segments.length - 1) {
      if (current.rest !== undefined) throw new TypeError(`path pattern ${pattern} is declared twice`)
      names.push(segment.slice(1, -1))
      current.rest = { names, value }
      return
    }
    if (parameter.test(segment)) {
      names.push(segment.slice(1))
      current.parameter ??= node()
      current = current.parameter
    } else {
      if (segment === '' || /[:*]/.test(segment)) throw new TypeError(`malformed path pattern ${pattern}`)
      let next = current.literals.get(segment)
      if (next === undefined) {
        next = node()
        current.literals.set(segment, next)
      }
      current = next
    }
  }
  if (current.leaf !== undefined) throw new TypeError(`path pattern ${pattern} is declared twice`)
  current.leaf = { names, value }
}

function node<T>(): Node<T> {
  return { literals: new Map(), parameter: undefined, leaf: undefined, rest: undefined }
}
