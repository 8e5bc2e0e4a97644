import type { Engine } from '@lockstep/storage'

/** The same engine; `observe` is told how long each write took until it was durable, ms. Failed ones are not counted. */
export function measuredEngine(
  engine: Engine,
  observe: (ms: number) => void,
  now: () => number = () => performance.now(),
): Engine {
  const measured: Engine = {
    limits: engine.limits,
    get: (key) => engine.get(key),
    getMany: (keys) => engine.getMany(keys),
    scan: (range) => engine.scan(range),
    async write(operations) {
      const started = now()
      await engine.write(operations)
      observe(now() - started)
    },
    close: () => engine.close(),
  }
  if (engine.list) measured.list = (prefix, options) => engine.list!(prefix, options)
  return measured
}
