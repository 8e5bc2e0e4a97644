/** What the primary's session asks for and is told: the contract between it and its driver. */
import type { CallEvent, CallReaction } from '../calls.ts'
import type { HeartbeatStatus, SelfReport } from '../heartbeat.ts'
import type { ForestReader } from '../merkle/forest.ts'
import type { LinkKind, Message, RefusalCode, VersionRange } from '../messages.ts'
import type { Cursor, PartitionId, View, WalRecord } from '../types.ts'

/**
 * Live, read synchronously within `step` and `tick`. `forest` and `head()` must describe the same moment, and everything they
 * describe must be durable.
 */
export interface PrimaryComponents {
  secondaryId: string
  kind: LinkKind
  clusterId: string
  /** Which of the set's clusters this is. A secondary holds on to it for as long as the epoch lasts. Default: not told. */
  leader?: string | undefined
  view: View
  forest: ForestReader
  log: {
    head(): Cursor
    /** Oldest index kept; head.index + 1 when none is. */
    oldest(): number
  }
  /** For the heartbeat. */
  report(): Omit<SelfReport, 'cursor'>
}

export interface PrimaryOptions {
  /** Versions to speak, within `PROTOCOL`. Default: all of them. */
  protocol?: VersionRange
  /** A batch of the log is read up to about this many bytes. Default 512 KiB. */
  batchBytes?: number
  /** Bytes sent and not yet acknowledged before sending waits. Default 4 MiB. */
  windowBytes?: number
  /** An answer to a fetch ends after about this many bytes of entries. Default 256 KiB. */
  answerBytes?: number
  /** An idle link proves its state again after this time, ms. Default 30,000. */
  guardIntervalMs?: number
  /** Default 1,000. */
  pingIntervalMs?: number
  /** A link on which nothing was heard for this long is given up, ms. Default 15,000. */
  silenceMs?: number
}

export type PrimaryEvent =
  | { type: 'message'; message: Message }
  /** The log has new records, and `forest` and `log.head()` show them. */
  | { type: 'appended' }
  /** What `view.ships` or `view.mountPathOf` answer has changed. */
  | { type: 'viewChanged' }
  /** Answers `read-digest`; undefined when the index is no longer kept, or not yet logged. */
  | { type: 'digest'; id: number; digest: Uint8Array | undefined }
  /** Answers `read-log`: contiguous records from `after + 1` and the cursor of the last; "trimmed" when that one is gone. */
  | { type: 'records'; id: number; result: { records: readonly WalRecord[]; end: Cursor } | 'trimmed' }
  /** Answers `read-entries`, in its order. */
  | { type: 'entries'; id: number; entries: readonly (StoredValue | undefined)[] }
  /** The link has closed. */
  | { type: 'closed' }
  | CallEvent

export interface StoredValue {
  key: string
  value: Uint8Array
}

export type PrimaryEffect =
  | { type: 'send'; message: Message }
  /** Keep the records after `index` for this secondary, also when the link is down. */
  | { type: 'retain'; index: number }
  | { type: 'read-digest'; id: number; index: number }
  | { type: 'read-log'; id: number; after: number; maxBytes: number }
  | { type: 'read-entries'; id: number; partition: PartitionId; keyIds: readonly Uint8Array[] }
  /** End the link, after what was sent. */
  | { type: 'close'; code: RefusalCode | 'silence'; message: string; byPeer: boolean }
  | CallReaction

export interface PrimaryStatus {
  state: 'handshake' | 'stream-wals' | 'merkle-diff' | 'closed'
  /** Protocol version agreed on; 0 before. */
  protocol: number
  /** Newest cursor the secondary has made durable. */
  acknowledged: Cursor | null
  /** Index up to which records were sent. */
  sentIndex: number
  inFlightBytes: number
  /** Diffs begun on this link, and why the last one was. */
  rounds: number
  diffReason: string
  heartbeat: HeartbeatStatus
}

export interface PrimarySession {
  /** `now` is wall-clock ms since the epoch. Effects are to be carried out in order. */
  step(event: PrimaryEvent, now: number): PrimaryEffect[]
  /** Call a few times a second. */
  tick(now: number): PrimaryEffect[]
  status(now: number): PrimaryStatus
}
