/**
 * Everything that goes over a link. Messages are plain data (objects, arrays, numbers, strings, byte arrays, booleans, null).
 * P = sent by the primary, S = sent by the secondary. `round` numbers the Merkle diffs of one link, 0 before the first.
 */
import type { PartitionId, ShippedClass } from './types.ts'

/**
 * Protocol versions this code speaks. Version 2: batches of the log name what they continue and carry a digest, and a Merkle
 * diff may use sketches.
 */
export const PROTOCOL = { min: 1, max: 2 } as const
/** From this version on `wal` has `after` and `digest`. */
export const SELF_VERIFYING_SINCE = 2
/** From this version on there are `get-sketch` and `sketch`. */
export const SKETCHES_SINCE = 2

/** Versions `min` to `max`, both included. */
export interface VersionRange {
  readonly min: number
  readonly max: number
}

export interface WireCursor {
  epoch: number
  index: number
  digest: Uint8Array
}

/** Entries of one partition, in parallel arrays. A null value is a deletion. */
export interface EntryGroup {
  partition: PartitionId
  mountPath: string
  keys: string[]
  values: (Uint8Array | null)[]
}

/** Plain data of bounded depth and size. */
export type Plain = null | boolean | number | string | Uint8Array | Plain[] | { [key: string]: Plain }

export type RefusalCode =
  /** No protocol version in common. */
  | 'version'
  /** The primary's epoch is older than one the secondary has followed. */
  | 'fenced'
  /** The secondary belongs to another replication set. */
  | 'cluster'
  /** The link is of the other kind (performance, dr). */
  | 'kind'
  /** The secondary is not known, or was revoked. */
  | 'unknown'
  /** The secondary was sent something it must not hold. */
  | 'not-accepted'
  /** A message that has no place at this point of the conversation. */
  | 'protocol'
  /** The sender is closing down or changing its role. */
  | 'shutdown'

/** `performance` links carry class replicated, `dr` links replicated and local. */
export type LinkKind = 'performance' | 'dr'

export const CLASSES_OF_KIND: Readonly<Record<LinkKind, readonly ShippedClass[]>> = {
  performance: ['replicated'],
  dr: ['replicated', 'local'],
}

/** S: opens the conversation. */
export interface Hello {
  type: 'hello'
  protocol: { min: number; max: number }
  kind: LinkKind
  secondaryId: string
  /** "" while not known. */
  clusterId: string
  /** Where the secondary stands in the primary's log; null when its state belongs to no place in it. */
  cursor: WireCursor | null
  /** Highest epoch it ever followed; 0 for none. */
  epoch: number
  /** `View.id` its state was made under; "" for none. */
  view: string
}

/** P: accepts. `stream` continues after the secondary's cursor; with `diff` a `diff-begin` follows at once. */
export interface Welcome {
  type: 'welcome'
  protocol: number
  clusterId: string
  head: WireCursor
  view: string
  mode: 'stream' | 'diff'
  /** Why a diff is needed; "" for a stream. For people. */
  reason: string
  /** The cluster that leads the head's epoch. Absent: from older primaries, and those that do not tell. */
  leader?: string
}

/** Both: ends the conversation. */
export interface Refuse {
  type: 'refuse'
  code: RefusalCode
  message: string
}

/** P: all records up to `cursor`, filtered. Applied whole, together with the cursor. */
export interface Wal {
  type: 'wal'
  round: number
  cursor: WireCursor
  /** Index of the primary's newest record when this was sent. */
  head: number
  groups: EntryGroup[]
  /** Composed root of the secondary's view at `cursor`; null when that is not known (not at the head, or not due). */
  guard: Uint8Array | null
  /** The cursor of the message before, in the first of a round that of the secondary. Null in version 1. */
  after: WireCursor | null
  /** `batchDigest` of all the rest but the round. Null in version 1. */
  digest: Uint8Array | null
}

/** S: everything up to `cursor` is durable. */
export interface Ack {
  type: 'ack'
  round: number
  cursor: WireCursor
}

/** S: asks for a diff, because a guard did not match or an operator wants one. */
export interface DiffRequest {
  type: 'diff-request'
  round: number
  reason: string
}

/** P: a new round begins. The log is pinned after `from`; nothing is streamed until `synced`. */
export interface DiffBegin {
  type: 'diff-begin'
  round: number
  from: WireCursor
  view: string
  reason: string
}

/** S: partitions with an id greater than `after`. */
export interface GetRoots {
  type: 'get-roots'
  round: number
  after: PartitionId
}

export interface RootItem {
  partition: PartitionId
  count: number
  root: Uint8Array
}

/** P: non-empty partitions of the view, sorted; `more` when there are others behind the last. */
export interface Roots {
  type: 'roots'
  round: number
  items: RootItem[]
  more: boolean
}

/** S: nodes at these places. */
export interface GetNodes {
  type: 'get-nodes'
  round: number
  id: number
  partition: PartitionId
  paths: string[]
}

/** `inner`: 16 child hashes joined; `bucket`: packed entries; `empty`: no bytes. */
export interface NodeItem {
  kind: 'inner' | 'bucket' | 'empty'
  count: number
  bytes: Uint8Array
}

/** P: answers `get-nodes`, in its order. */
export interface Nodes {
  type: 'nodes'
  round: number
  id: number
  nodes: NodeItem[]
}

/** S, from version 2 on: coded symbols over all entries below the paths together. */
export interface GetSketch {
  type: 'get-sketch'
  round: number
  id: number
  partition: PartitionId
  paths: string[]
  /** Symbols that came already, and the `state` they were of; 0 and null the first time. */
  first: number
  state: Uint8Array | null
  /** How many more are wanted. */
  symbols: number
}

/** P: answers `get-sketch`. */
export interface Sketch {
  type: 'sketch'
  round: number
  id: number
  /** Entries below the paths. */
  count: number
  /** Hash of what is below the paths: names the state that the symbols are of. */
  state: Uint8Array
  /** Number of the first symbol: as asked for, or 0 when the state is not the one of before. */
  first: number
  /** Up to the last one asked for, 29 bytes each; empty when there are too many entries for a sketch. */
  symbols: Uint8Array
}

/** S: the entries behind these key ids (joined, sorted). */
export interface GetKeys {
  type: 'get-keys'
  round: number
  id: number
  partition: PartitionId
  keyIds: Uint8Array
}

/** S: the entries below a path with key ids greater than `after` (null: from the first). */
export interface GetSubtree {
  type: 'get-subtree'
  round: number
  id: number
  partition: PartitionId
  path: string
  after: Uint8Array | null
}

/**
 * P: answers `get-keys` and `get-subtree` as far as the byte bound allows. `next` is the last key id dealt with when there is
 * more to ask for, else null. Keys that are gone by now are left out; one that was asked for by name is then to be deleted.
 */
export interface Entries {
  type: 'entries'
  round: number
  id: number
  group: EntryGroup
  next: Uint8Array | null
}

/** S: the round is done and durable; stream on from its `from`. */
export interface Synced {
  type: 'synced'
  round: number
}

/** Both: heartbeat. `time` is the sender's wall clock, ms since the epoch. */
export interface Ping {
  type: 'ping'
  time: number
  /** The sender's place: its log's head at the primary, the durable cursor at the secondary (null while it has none). */
  cursor: WireCursor | null
  /** When the sender last proved that its storage takes writes, ms since the epoch; 0 for never. */
  canary: number
  /** Cluster addresses of the sender's nodes, best first. */
  addresses: string[]
  /** API address of the sender, "" when not known. */
  apiAddress: string
}

/** Both: answers a ping at once. */
export interface Pong {
  type: 'pong'
  /** The ping's `time`. */
  echo: number
  time: number
}

/** Both: a call to the other side's application. */
export interface Request {
  type: 'request'
  id: number
  method: string
  body: Plain
}

/** Both: `error` null on success. */
export interface Response {
  type: 'response'
  id: number
  body: Plain
  error: { code: string; message: string } | null
}

export type Message =
  | Hello
  | Welcome
  | Refuse
  | Wal
  | Ack
  | DiffRequest
  | DiffBegin
  | GetRoots
  | Roots
  | GetNodes
  | Nodes
  | GetSketch
  | Sketch
  | GetKeys
  | GetSubtree
  | Entries
  | Synced
  | Ping
  | Pong
  | Request
  | Response

export type MessageType = Message['type']
