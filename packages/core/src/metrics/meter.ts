/** Counts and timings as they happen. Gauges are not kept: they are read when someone asks. */
import { CATALOG, type MetricKind, type MetricName, type MetricNameOf } from './catalog.ts'

export type Labels = Readonly<Record<string, string>>

export interface Summary {
  count: number
  sum: number
  min: number
  max: number
  /** Of the squares, for the standard deviation. */
  sumOfSquares: number
  /** Over the newest observations; NaN when there are none. */
  quantiles: { '0.5': number; '0.9': number; '0.99': number }
}

export interface Sample {
  name: MetricName
  kind: MetricKind
  help: string
  labels: Labels
  /** Of a gauge or counter. */
  value?: number
  /** Of a summary. */
  summary?: Summary
}

/** A moment of one node. */
export interface MetricsSnapshot {
  /** ms since the epoch. */
  time: number
  /** Seconds that counts and sums cover. */
  seconds: number
  samples: Sample[]
}

export interface Meter {
  count(name: MetricNameOf<'counter'>, by?: number, labels?: Labels): void
  observe(name: MetricNameOf<'summary'>, value: number, labels?: Labels): void
  /** Observes how long it took, ms, also when it fails. */
  time<T>(name: MetricNameOf<'summary'>, work: () => Promise<T>, labels?: Labels): Promise<T>
  samples(): Sample[]
}

/** Quantiles are of this many observations; counts and sums of all. */
const WINDOW = 1024
/** Of all series together: labels cannot make memory grow without end. */
const MAX_SERIES = 2000

interface Counting {
  name: MetricName
  labels: Labels
  value: number
  /** Ring of the newest. */
  newest: Float64Array | undefined
  count: number
  min: number
  max: number
  sumOfSquares: number
}

export function meter(now: () => number = () => performance.now()): Meter {
  const series = new Map<string, Counting>()

  function find(name: MetricName, labels: Labels, summary: boolean): Counting | undefined {
    const key = `${name} ${JSON.stringify(labels)}`
    let found = series.get(key)
    if (found === undefined) {
      if (series.size >= MAX_SERIES) return undefined
      const newest = summary ? new Float64Array(WINDOW) : undefined
      const { POSITIVE_INFINITY: min, NEGATIVE_INFINITY: max } = Number
      found = { name, labels, value: 0, newest, count: 0, min, max, sumOfSquares: 0 }
      series.set(key, found)
    }
    return found
  }

  function observe(name: MetricNameOf<'summary'>, value: number, labels: Labels = {}): void {
    const found = find(name, labels, true)
    if (found === undefined) return
    found.newest![found.count % WINDOW] = value
    found.count++
    found.value += value
    found.sumOfSquares += value * value
    found.min = Math.min(found.min, value)
    found.max = Math.max(found.max, value)
  }

  return {
    count(name, by = 1, labels = {}) {
      const found = find(name, labels, false)
      if (found !== undefined) found.value += by
    },
    observe,
    async time(name, work, labels) {
      const started = now()
      try {
        return await work()
      } finally {
        observe(name, now() - started, labels)
      }
    },
    samples: () => [...series.values()].map(sampleOf),
  }
}

/** A gauge, or a counter that someone else keeps. */
export function sample(name: MetricNameOf<'gauge' | 'counter'>, value: number, labels: Labels = {}): Sample {
  const [kind, help] = CATALOG[name]
  return { name, kind, help, labels, value }
}

function sampleOf({ name, labels, value, newest, count, min, max, sumOfSquares }: Counting): Sample {
  const [kind, help] = CATALOG[name]
  if (newest === undefined) return { name, kind, help, labels, value }
  const sorted = newest.slice(0, Math.min(count, WINDOW)).sort()
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN
  const quantiles = { '0.5': at(0.5), '0.9': at(0.9), '0.99': at(0.99) }
  return { name, kind, help, labels, summary: { count, sum: value, min, max, sumOfSquares, quantiles } }
}
