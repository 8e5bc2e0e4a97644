/** Which ends of transactions the contract allows, judged from what they read and wrote. */
import type { ListOptions, ScanRange } from '../store.ts'
import { modelList, modelScan, type State } from './model-state.ts'

export type Read =
  | { type: 'get'; key: string }
  | { type: 'getMany'; keys: readonly string[] }
  | { type: 'scan'; range: ScanRange }
  | { type: 'list'; prefix: string; options: ListOptions }

/** Undefined = deleted. */
export type Writes = ReadonlyMap<string, string | undefined>

export interface Observation {
  read: Read
  /** What the transaction had written itself by then. */
  own: Writes
  result: unknown
}

export interface Commit {
  observations: readonly Observation[]
  writes: Writes
}

export function resultOf(state: State, read: Read): unknown {
  if (read.type === 'get') return state.get(read.key)
  if (read.type === 'getMany') return read.keys.map((key) => state.get(key))
  if (read.type === 'list') return modelList(state, read.prefix, read.options)
  return modelScan(state, read.range)
}

export function applied(state: State, writes: Writes): State {
  const next = new Map(state)
  for (const [key, value] of writes) {
    if (value === undefined) next.delete(key)
    else next.set(key, value)
  }
  return next
}

export function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a ?? null) === JSON.stringify(b ?? null)
}

/** Whether one of the writes lies where the transaction looked, as a store sees it that notes keys and ranges, not values. */
export function touches(writes: Writes, observations: readonly Pick<Observation, 'read' | 'own'>[]): boolean {
  return [...writes.keys()].some((key) => observations.some(({ read, own }) => looksAt(read, own, key)))
}

function looksAt(read: Read, own: Writes, key: string): boolean {
  if (read.type === 'get') return key === read.key && !own.has(key)
  if (read.type === 'getMany') return read.keys.includes(key) && !own.has(key)
  if (read.type === 'list') return key.startsWith(read.prefix)
  const { limit: _, ...range } = read.range
  return modelScan(new Map([[key, '']]), range).length > 0
}

/**
 * An order in which all commits, one after the other from `base`, give every read its result and `final` at the end; undefined when
 * none is found. `ordered` is such an order of the earlier ones, `added` committed after all of them, at the same time. `readers` wrote
 * nothing: each has to fit somewhere.
 */
export function serialOrder(
  base: State,
  ordered: readonly Commit[],
  added: readonly Commit[],
  readers: readonly Commit[],
  final: State,
): readonly Commit[] | undefined {
  if (added.length === 0) return isSerial(base, ordered, readers, final) ? ordered : undefined
  for (const commit of added) {
    const others = added.filter((other) => other !== commit)
    // Who read nothing can be the last; who read may have to come before those whose writes it did not see.
    const first = commit.observations.length === 0 ? ordered.length : 0
    const states = [base]
    for (const { writes } of ordered) states.push(applied(states.at(-1)!, writes))
    for (let place = ordered.length; place >= first; place--) {
      if (!explains(states[place]!, commit)) continue
      const found = serialOrder(
        base,
        [...ordered.slice(0, place), commit, ...ordered.slice(place)],
        others,
        readers,
        final,
      )
      if (found !== undefined) return found
    }
  }
  return undefined
}

function explains(state: State, { observations }: Commit): boolean {
  return observations.every(({ read, own, result }) => same(resultOf(applied(state, own), read), result))
}

function isSerial(base: State, commits: readonly Commit[], readers: readonly Commit[], final: State): boolean {
  const states = [base]
  for (const commit of commits) {
    const state = states.at(-1)!
    if (!explains(state, commit)) return false
    states.push(applied(state, commit.writes))
  }
  if (!readers.every((reader) => states.some((state) => explains(state, reader)))) return false
  return same(modelScan(states.at(-1)!, {}), modelScan(final, {}))
}
