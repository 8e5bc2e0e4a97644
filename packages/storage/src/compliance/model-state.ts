import { compareKeys } from '../key.ts'
import { childName } from '../key-range.ts'
import type { ListOptions, ScanRange } from '../store.ts'

/** A store as simple as can be: strings in a map. */
export type State = ReadonlyMap<string, string>

export function modelScan(state: State, range: ScanRange): [string, string][] {
  const { prefix = '', after, before, limit, reverse } = range
  const entries = [...state]
    .filter(([key]) => key.startsWith(prefix))
    .filter(([key]) => after === undefined || compareKeys(key, after) > 0)
    .filter(([key]) => before === undefined || compareKeys(key, before) < 0)
    .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  if (reverse) entries.reverse()
  return entries.slice(0, limit)
}

export function modelList(state: State, prefix: string, options: ListOptions): string[] {
  const names = [...state.keys()]
    .filter((key) => key.startsWith(prefix) && key !== prefix)
    .map((key) => childName(prefix, key))
  return [...new Set(names)]
    .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .filter((name) => options.after === undefined || compareKeys(name, options.after) > 0)
    .slice(0, options.limit)
}
