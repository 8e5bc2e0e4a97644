import type { Engine, WriteOperation } from './engine.ts'
import type { Entry, ListOptions, ScanRange } from './store.ts'

/** The part of an engine below `prefix`, with the prefix taken off its keys. Closing it leaves the engine open. */
export function prefixedEngine(engine: Engine, prefix: string): Engine {
  const view: Engine = {
    limits: engine.limits,
    get: (key) => engine.get(prefix + key),
    getMany: (keys) => engine.getMany(keys.map((key) => prefix + key)),
    scan: (range) => scan(engine, prefix, range),
    write(operations) {
      const inner: WriteOperation[] = []
      for (const operation of operations) {
        const key = prefix + operation.key
        inner.push(operation.type === 'put' ? { type: 'put', key, value: operation.value } : { type: 'delete', key })
      }
      return engine.write(inner)
    },
    close: () => Promise.resolve(),
  }
  if (engine.list) view.list = (folder: string, options?: ListOptions) => engine.list!(prefix + folder, options)
  return view
}

async function* scan(engine: Engine, prefix: string, range: ScanRange): AsyncGenerator<Entry> {
  const inner: ScanRange = { ...range, prefix: prefix + (range.prefix ?? '') }
  // A key equal to the prefix has no name here.
  inner.after = prefix + (range.after ?? '')
  if (range.before !== undefined) inner.before = prefix + range.before
  for await (const [key, value] of engine.scan(inner)) yield [key.slice(prefix.length), value]
}
