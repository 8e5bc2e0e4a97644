/** Latencies in logarithmic buckets (about 2 % wide), cheap to record, to merge and to send between processes. */
const PER_DOUBLING = 32

export function histogram() {
  const counts = []
  return {
    counts,
    record(microseconds) {
      const bucket = microseconds <= 1 ? 0 : Math.round(Math.log2(microseconds) * PER_DOUBLING)
      counts[bucket] = (counts[bucket] ?? 0) + 1
    },
    merge(others) {
      others.forEach((count, bucket) => {
        if (count) counts[bucket] = (counts[bucket] ?? 0) + count
      })
    },
    /** Milliseconds. */
    percentile(fraction) {
      let left = counts.reduce((sum, count) => sum + (count ?? 0), 0) * fraction
      for (let bucket = 0; bucket < counts.length; bucket++) {
        left -= counts[bucket] ?? 0
        if (left <= 0) return 2 ** (bucket / PER_DOUBLING) / 1000
      }
      return 0
    },
  }
}
