/** Why one end refuses the other for good: a later epoch, or no protocol version in common. */
import type { ReplicationKind } from '../role-records.ts'
import { type Found, ok } from './diagnostics.ts'

// Either end may have refused; the primary's refusals come with their code.
const VERSION = /\(version\)|^protocol \d+ was chosen/
const FENCED = /\(fenced\)|^the primary is in epoch \d+, but epoch/

export function epochCheck(
  kind: ReplicationKind,
  facts: { fencedByEpoch?: number; fencedBy?: string; lastError: string },
): Found {
  const bad = (detail: string, remedy: string): Found => ({
    ...{ kind, check: 'epoch', status: 'critical', cause: 'fenced', detail, remedy },
  })
  if (facts.fencedByEpoch !== undefined) {
    return bad(
      `the secondary ${facts.fencedBy ?? ''} has followed epoch ${facts.fencedByEpoch}: another cluster was promoted`,
      'This primary is stale: demote it, then point it at the promoted cluster by update-primary with a token.',
    )
  }
  if (FENCED.test(facts.lastError)) {
    return bad(
      facts.lastError,
      'The primary dialled is stale: demote it, and name the promoted cluster by update-primary.',
    )
  }
  return ok('epoch', 'no later epoch is known', { kind })
}

/** A refusal because the two ends have no protocol version in common shows nowhere but in the last error. */
export function versionCheck(kind: ReplicationKind, lastError: string): Found | undefined {
  if (!VERSION.test(lastError)) return undefined
  const remedy = 'Upgrade the end that is named; upgrade secondaries before their primary.'
  return { kind, check: 'protocol', status: 'critical', cause: 'version', detail: lastError, remedy }
}
