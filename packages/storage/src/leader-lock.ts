/**
 * Mutual exclusion between the nodes of one cluster that share a storage. At most one holder at a time; each
 * acquisition gets a fencing token greater than every earlier one.
 */
export interface LeaderLock {
  /** Waits until this node holds the lock, or the signal aborts (then rejects with the signal's reason). */
  acquire(signal?: AbortSignal): Promise<Leadership>
  /** What the current holder published, or undefined when nobody holds the lock. */
  holder(): Promise<string | undefined>
}

export interface Leadership {
  readonly fencingToken: bigint
  /** Resolves when the lock is lost or released. A deposed leader must stop writing at once. */
  readonly lost: Promise<void>
  /** Publishes a small value (for instance this node's addresses) for the standbys. */
  publish(value: string): Promise<void>
  release(): Promise<void>
}
