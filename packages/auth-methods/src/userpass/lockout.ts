/**
 * Counts failed logins per user on this node, known users or not, so that a lock tells nobody whether a user exists.
 */
export interface Lockout {
  isLocked(user: string): boolean
  failed(user: string): void
  succeeded(user: string): void
}

// Vault's defaults.
const threshold = 5
const lockedMs = 15 * 60_000
const forgetMs = 15 * 60_000
const maxUsers = 100_000

export function lockout(now: () => number): Lockout {
  const failures = new Map<string, { count: number; last: number }>()

  function current(user: string): { count: number; last: number } | undefined {
    const entry = failures.get(user)
    if (entry === undefined) return undefined
    const age = now() - entry.last
    if (age < (entry.count >= threshold ? lockedMs : forgetMs)) return entry
    failures.delete(user)
    return undefined
  }

  return {
    isLocked: (user) => (current(user)?.count ?? 0) >= threshold,
    failed(user) {
      const count = (current(user)?.count ?? 0) + 1
      // Re-inserted at the end, so that the longest untouched entry is the first to go.
      failures.delete(user)
      if (failures.size >= maxUsers) failures.delete(failures.keys().next().value!)
      failures.set(user, { count, last: now() })
    },
    succeeded: (user) => void failures.delete(user),
  }
}
