import type { Engine } from './engine.ts'
import { boundsOf, childName, listBounds, within } from './key-range.ts'
import type { ListOptions } from './store.ts'

/** `list` for engines without one of their own: reads every entry below the prefix. */
export async function scanList(engine: Engine, prefix: string, options: ListOptions = {}): Promise<string[]> {
  const limit = options.limit ?? Number.POSITIVE_INFINITY
  const names: string[] = []
  if (limit <= 0) return names
  const wanted = listBounds(prefix, options)
  const { lower } = boundsOf({ prefix })
  for await (const [key] of engine.scan(lower === undefined ? {} : { prefix })) {
    if (!within(wanted, key)) continue
    const name = childName(prefix, key)
    if (name === names.at(-1)) continue
    names.push(name)
    if (names.length >= limit) break
  }
  return names
}
