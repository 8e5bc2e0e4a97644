/** A snapshot of metrics in the two forms Vault has: its JSON, and the text format of Prometheus. */
import type { MetricSample, MetricsSnapshot } from '@lockstep/core'
import { collectDefaultMetrics, Registry } from 'prom-client'

const PREFIX = 'vault'

/** As go-metrics' in-memory sink shows itself. Counts and sums cover the node's life rather than the last interval. */
export function metricsJson({ time, seconds, samples }: MetricsSnapshot): Record<string, unknown> {
  const named = ({ name, labels }: MetricSample) => ({ Name: `${PREFIX}.${name}`, Labels: labels })
  const rate = (sum: number): number => (seconds > 0 ? sum / seconds : 0)
  return {
    Timestamp: goTime(time),
    Gauges: samples
      .filter(({ kind }) => kind === 'gauge')
      .map((sample) => ({ ...named(sample), Value: sample.value ?? 0 })),
    Points: [],
    Counters: samples
      .filter(({ kind }) => kind === 'counter')
      .map((sample) => {
        const sum = sample.value ?? 0
        return { ...named(sample), Count: sum, Rate: rate(sum), Sum: sum, Min: 0, Max: sum, Mean: 0, Stddev: 0 }
      }),
    Samples: samples.flatMap((sample) => {
      const { summary } = sample
      if (summary === undefined || summary.count === 0) return []
      const { count, sum, min, max, sumOfSquares } = summary
      const variance = count > 1 ? Math.max(0, (sumOfSquares - (sum * sum) / count) / (count - 1)) : 0
      const [Mean, Stddev] = [sum / count, Math.sqrt(variance)]
      return [{ ...named(sample), Count: count, Rate: rate(sum), Sum: sum, Min: min, Max: max, Mean, Stddev }]
    }),
  }
}

/** `vault.core.unsealed` is `vault_core_unsealed`, as go-metrics writes it; other letters stay. */
export function prometheusName(name: string): string {
  return `${PREFIX}_${name.replace(/[ .=\-/]/g, '_')}`
}

export interface PrometheusText {
  contentType: string
  text(snapshot: MetricsSnapshot): Promise<string>
}

/** With the process's own metrics (`process_*`, `nodejs_*`), which are gathered from now on. */
export function prometheusText(): PrometheusText {
  const own = new Registry()
  collectDefaultMetrics({ register: own })
  return {
    contentType: own.contentType,
    async text({ samples }) {
      const registry = new Registry()
      for (const [name, group] of grouped(samples)) registry.registerMetric(metricOf(name, group) as never)
      return (await registry.metrics()) + (await own.metrics())
    },
  }
}

function grouped(samples: readonly MetricSample[]): Map<string, MetricSample[]> {
  const groups = new Map<string, MetricSample[]>()
  for (const sample of samples) {
    const group = groups.get(sample.name)
    if (group === undefined) groups.set(sample.name, [sample])
    else group.push(sample)
  }
  return groups
}

/** What a registry asks of its metrics: theirs count for themselves, these are read from a snapshot. */
function metricOf(metric: string, group: readonly MetricSample[]) {
  const name = prometheusName(metric)
  const { help, kind } = group[0]!
  const values = group.flatMap(({ labels, value, summary }) => {
    if (summary === undefined) return [{ labels, value: value ?? 0 }]
    return [
      ...Object.entries(summary.quantiles).map(([quantile, at]) => ({ labels: { ...labels, quantile }, value: at })),
      { labels, value: summary.sum, metricName: `${name}_sum` },
      { labels, value: summary.count, metricName: `${name}_count` },
    ]
  })
  const type = kind
  return { name, help, type, get: async () => ({ name, help, type, values }) }
}

/** `2026-11-23 10:00:00 +0000 UTC`. */
function goTime(time: number): string {
  return `${new Date(time).toISOString().slice(0, 19).replace('T', ' ')} +0000 UTC`
}
