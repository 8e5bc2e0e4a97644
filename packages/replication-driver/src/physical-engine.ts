import type { Engine, ListOptions, ScanRange, StoreLimits, WriteOperation } from '@lockstep/storage'
import { DATA } from './layout.ts'
import type { ReadCache } from './read-cache.ts'

/** What a log record adds to the keys and values of its commit, bytes; generous. */
const RECORD_BYTES = 64 * 1024

/** The logical keys of a logged store as an engine: data under `d/`, and beside each group what `beside` says. */
export function physicalEngine(physical: Engine, cache: ReadCache, beside: () => readonly WriteOperation[]): Engine {
  const load = (key: string) => physical.get(DATA + key)
  const loadMany = (keys: readonly string[]) => physical.getMany(keys.map((key) => DATA + key))
  const engine: Engine = {
    limits: physical.limits && logicalLimits(physical.limits),
    get: (key) => cache.read(key, load),
    getMany: (keys) => cache.readMany(keys, loadMany),
    async *scan(range) {
      for await (const [key, value] of physical.scan(dataRange(range))) yield [key.slice(DATA.length), value]
    },
    write(operations) {
      const all: WriteOperation[] = []
      for (const operation of operations) {
        const key = DATA + operation.key
        all.push(operation.type === 'put' ? { type: 'put', key, value: operation.value } : { type: 'delete', key })
      }
      for (const operation of beside()) all.push(operation)
      return physical.write(all)
    },
    // The physical store outlives the logged one.
    close: () => Promise.resolve(),
  }
  if (physical.list) engine.list = (prefix: string, options?: ListOptions) => physical.list!(DATA + prefix, options)
  return engine
}

function dataRange(range: ScanRange): ScanRange {
  const mapped: ScanRange = { ...range, prefix: DATA + (range.prefix ?? '') }
  if (range.after !== undefined) mapped.after = DATA + range.after
  if (range.before !== undefined) mapped.before = DATA + range.before
  return mapped
}

/** A commit is in the log again as one value; beside each key there is a leaf, and small ones weigh four times as much. */
function logicalLimits({ valueBytes, commitBytes, groupBytes }: StoreLimits): StoreLimits {
  const recordBytes = Math.min(valueBytes, commitBytes / 2) - RECORD_BYTES
  return { valueBytes: recordBytes, commitBytes: recordBytes, groupBytes: Math.floor(groupBytes / 4) }
}
