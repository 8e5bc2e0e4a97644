/** A reader of one point in the commit order. */
export interface SnapshotReader {
  /** Sequence of the last commit it sees. */
  snapshot: number
  /** Set when the history it would need has been dropped; it can only fail. */
  outdated: boolean
}

interface Commit {
  sequence: number
  keys: readonly string[]
}

/**
 * Which keys the recent commits changed: as far back as the oldest open snapshot, and nothing when none is open. A
 * snapshot that would make it remember more than `maxKeys` keys is given up.
 */
export class CommitHistory {
  readonly #maxKeys: number
  #sequence = 0
  readonly #latest = new Map<string, number>()
  #commits: Commit[] = []
  #keyCount = 0
  // Snapshots only move forward, so insertion order is snapshot order.
  readonly #readers = new Set<SnapshotReader>()

  constructor(maxKeys: number) {
    this.#maxKeys = maxKeys
  }

  open(reader: SnapshotReader): void {
    reader.snapshot = this.#sequence
    this.#readers.add(reader)
  }

  close(reader: SnapshotReader): void {
    if (this.#readers.delete(reader)) this.#prune()
  }

  record(changed: Iterable<string>): void {
    this.#sequence++
    if (this.#readers.size === 0) return
    const keys = [...changed]
    this.#commits.push({ sequence: this.#sequence, keys })
    this.#keyCount += keys.length
    for (const key of keys) this.#latest.set(key, this.#sequence)
    while (this.#keyCount > this.#maxKeys && this.#readers.size > 0) {
      const [oldest] = this.#readers
      oldest!.outdated = true
      this.#readers.delete(oldest!)
      this.#prune(1)
    }
  }

  changedSince(key: string, snapshot: number): boolean {
    return (this.#latest.get(key) ?? 0) > snapshot
  }

  /** Keys changed after the snapshot for which `matches` holds. */
  changesSince(snapshot: number, matches: (key: string) => boolean): string[] {
    const found: string[] = []
    for (let i = this.#firstAfter(snapshot); i < this.#commits.length; i++) {
      for (const key of this.#commits[i]!.keys) if (matches(key)) found.push(key)
    }
    return found
  }

  #firstAfter(snapshot: number): number {
    let low = 0
    let high = this.#commits.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#commits[middle]!.sequence <= snapshot) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Forgets what no open snapshot needs, once it is `least` commits: moving the array costs as much as it is long. */
  #prune(least = 64): void {
    const [oldest] = this.#readers
    if (oldest === undefined) {
      if (this.#commits.length === 0) return
      this.#commits = []
      this.#latest.clear()
      this.#keyCount = 0
      return
    }
    const keep = this.#firstAfter(oldest.snapshot)
    if (keep < least && keep < this.#commits.length) return
    for (const commit of this.#commits.splice(0, keep)) {
      this.#keyCount -= commit.keys.length
      for (const key of commit.keys) if (this.#latest.get(key) === commit.sequence) this.#latest.delete(key)
    }
  }
}
