/** A process that runs the seeds it is sent. */
import { simulate } from './simulate.ts'
import type { Finding, Job, Report } from './worker-pool.ts'

process.on('message', async (job: Job) => {
  const findings: Finding[] = []
  const sum = { seeds: 0, events: 0, virtualMs: 0, acknowledged: 0, diffs: 0 }
  for (let seed = job.from; seed < job.to; seed++) {
    const outcome = await simulate(seed)
    sum.seeds++
    sum.events += outcome.events
    sum.virtualMs += outcome.virtualMs
    sum.acknowledged += outcome.acknowledged
    sum.diffs += outcome.diffs
    if (outcome.failure) findings.push({ seed, ...outcome.failure, trace: outcome.failure.trace.slice(-25) })
    else if (job.twice) {
      const again = await simulate(seed)
      if (again.hash !== outcome.hash) {
        const message = `the first run gave ${outcome.hash}, the second ${again.hash}`
        findings.push({ seed, invariant: 'determinism', message, trace: [] })
      }
    }
    if (findings.length > 0 && job.stopAtFirst) break
  }
  const report: Report = { ...sum, findings }
  process.send!(report)
})

process.on('disconnect', () => process.exit())
