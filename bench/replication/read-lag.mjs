/** How long after a write was acknowledged by the primary the secondary shows it. */

/** Writes a rising number on the primary, and reads it on the secondary until it is there, for `seconds`. Milliseconds, sorted. */
export async function lag(primary, secondary, seconds) {
  const samples = []
  const until = Date.now() + seconds * 1000
  for (let number = 1; Date.now() < until; number++) {
    await primary.client.write('kv/probe', { number })
    const acknowledged = performance.now()
    for (;;) {
      const { status, body } = await secondary.client.call('GET', 'kv/probe')
      if (status === 200 && body.data.number >= number) break
      if (performance.now() - acknowledged > 60_000) throw new Error('the secondary does not follow')
    }
    samples.push(performance.now() - acknowledged)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return samples.sort((a, b) => a - b)
}

export function percentile(sorted, fraction) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))]
}
