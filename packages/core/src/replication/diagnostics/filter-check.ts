/** Whether a secondary has been brought in line with the filter on it. */
import { type Found, ok } from './diagnostics.ts'

export interface FilterFacts {
  name: string
  withheld: number
  /** Undefined when the secondary was not heard. */
  inForce: boolean | undefined
}

export function filterCheck(facts: FilterFacts): Found {
  const about = { kind: 'performance' as const, subject: facts.name }
  const withheld = facts.withheld === 0 ? 'nothing is withheld' : `${facts.withheld} mounts are withheld`
  if (facts.inForce === false) {
    return {
      ...about,
      check: 'filter',
      status: 'warning',
      cause: 'view_mismatch',
      detail: `${withheld}; the secondary has not been brought in line with the filter yet`,
      remedy: `Wait for its comparison to end, then read sys/replication/performance/primary/inspect/${facts.name}.`,
    }
  }
  return ok('filter', facts.inForce === undefined ? `${withheld}; the secondary was not heard` : withheld, about)
}
