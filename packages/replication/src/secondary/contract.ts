/** What the secondary's session asks for and is told: the contract between it and its driver. */
import type { CallEvent, CallReaction } from '../calls.ts'
import type { HeartbeatStatus, SelfReport } from '../heartbeat.ts'
import type { ForestReader } from '../merkle/forest.ts'
import type { LinkKind, Message, RefusalCode, VersionRange } from '../messages.ts'
import type { Cursor, PartitionId, WalOperation } from '../types.ts'
import type { Position } from './position.ts'
import type { Repair } from './repair-log.ts'

export interface SecondaryComponents {
  secondaryId: string
  kind: LinkKind
  /** Live, read synchronously within `step`; shows what is durable and nothing else. */
  forest: ForestReader
  /** True, or why this cluster must not hold the entry. Asked for every entry before it is applied. */
  accept(entry: WalOperation): true | string
  /** For the heartbeat. */
  report(): Omit<SelfReport, 'cursor'>
}

export interface SecondaryOptions {
  /** Versions to speak, within `PROTOCOL`. Default: all of them. */
  protocol?: VersionRange
  /** What the status of the link before showed at its end; the new one continues it. */
  before?: Pick<SecondaryStatus, 'verified' | 'streamFaults' | 'lastRepair'>
  /** Batches that came in during one write are written together up to about this many bytes. Default 2 MiB. */
  applyBytes?: number
  /**
   * Whether diffs may use sketches, where the version has them, or for subtrees of how many entries here (a primary answers for
   * 32,768 at most). Default: 256 to 24,576.
   */
  sketches?: boolean | { minEntries: number; maxEntries: number }
  /** Fetches open at once during a sync, at most 32. Default 12. */
  fetches?: number
  /** Default 1,000. */
  pingIntervalMs?: number
  /** A link on which nothing was heard for this long is given up, ms. Default 15,000. */
  silenceMs?: number
}

export type SecondaryEvent =
  /** The link is up: say hello. */
  | { type: 'start' }
  | { type: 'message'; message: Message }
  /** The `apply` with this id is durable and `forest` shows it. */
  | { type: 'applied'; id: number }
  /** Someone wants the whole view compared again. */
  | { type: 'compare'; reason: string }
  /** The link has closed. */
  | { type: 'closed' }
  | CallEvent

export type SecondaryEffect =
  | { type: 'send'; message: Message }
  | ApplyEffect
  /** End the link, after what was sent. */
  | { type: 'close'; code: RefusalCode | 'silence'; message: string; byPeer: boolean }
  | CallReaction

/**
 * Write all of it in one transaction, then report `applied`. One at a time is outstanding. Deletions come before the entries: a
 * key may leave one partition and be put into another. Key ids the partition does not hold (any more) are skipped.
 */
export interface ApplyEffect {
  type: 'apply'
  id: number
  deletions: readonly { partition: PartitionId; keyIds: readonly Uint8Array[] }[]
  entries: readonly WalOperation[]
  /** To be stored with them. */
  position: Position
}

export type SecondaryState = 'idle' | 'stream-wals' | 'merkle-diff' | 'merkle-sync'

export interface SecondaryStatus {
  state: SecondaryState
  /** Protocol version agreed on; 0 before. */
  protocol: number
  /** What is durable. */
  position: Position
  /** Index of the newest log record that was applied from the stream on this link; 0 before the first batch. */
  lastRemoteWal: number
  /** Newest index of the primary that was heard of; 0 before. */
  primaryHead: number
  /** How long this secondary has known of a newer record than it has applied, ms; 0 when it is up to date. */
  lagMs: number
  /** Newest cursor at which the composed roots of both ends were equal. */
  verified: Cursor | null
  /** Guards in a row that did not match. Not 0: a diff is due or under way; above 1: a diff did not help. */
  guardFailures: number
  /**
   * Batches of the log that came damaged, twice or out of order, or after one that did not come, on this link and those of `before`. Only
   * version 2 can tell. Each led to a diff, unless one was due already.
   */
  streamFaults: number
  /** The last comparison this end asked for because of such a batch, a guard or an operator, and what it found; null for none. */
  lastRepair: Repair | null
  /** Diffs begun on this link, and why the last one was. */
  rounds: number
  diffReason: string
  /** During merkle-diff and merkle-sync: entries fetched, and how many are known to be needed so far. */
  sync: { progress: number; total: number } | null
  heartbeat: HeartbeatStatus
}

export interface SecondarySession {
  /** `now` is wall-clock ms since the epoch. Effects are to be carried out in order. */
  step(event: SecondaryEvent, now: number): SecondaryEffect[]
  /** Call a few times a second. */
  tick(now: number): SecondaryEffect[]
  status(now: number): SecondaryStatus
}
