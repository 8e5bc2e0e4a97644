export type { CallEffect, CallError, CallEvent, ResultEffect } from './calls.ts'
export { MAX_CALLS } from './calls.ts'
export { ReplicationError, type ReplicationErrorCode } from './errors.ts'
export type { HeartbeatStatus, SelfReport } from './heartbeat.ts'
export type { Link } from './link.ts'
export type { EntriesOptions, ForestNode, ForestReader, MerkleForest } from './merkle/forest.ts'
export { merkleForest } from './merkle/forest.ts'
export {
  ENTRY_BYTES,
  KEY_ID_BYTES,
  keyIdOf,
  LEAF_DIGEST_BYTES,
  leafDigestOf,
  type TreePath,
} from './merkle/leaf.ts'
export { MESSAGE_LIMITS, parseMessage } from './message-parser.ts'
export type { LinkKind, Message, MessageType, Plain, RefusalCode, VersionRange } from './messages.ts'
export { CLASSES_OF_KIND, PROTOCOL } from './messages.ts'
export type {
  PrimaryComponents,
  PrimaryEffect,
  PrimaryEvent,
  PrimaryOptions,
  PrimarySession,
  PrimaryStatus,
  StoredValue,
} from './primary/contract.ts'
export { primarySession } from './primary/session.ts'
export { type Shipping, shipping } from './primary/shipping.ts'
export type {
  ApplyEffect,
  SecondaryComponents,
  SecondaryEffect,
  SecondaryEvent,
  SecondaryOptions,
  SecondarySession,
  SecondaryState,
  SecondaryStatus,
} from './secondary/contract.ts'
export { decodePosition, encodePosition, NO_POSITION, type Position } from './secondary/position.ts'
export type { Repair } from './secondary/repair-log.ts'
export { secondarySession } from './secondary/session.ts'
export type { Cursor, Partition, PartitionId, ShippedClass, View, WalOperation, WalRecord } from './types.ts'
export { parsePartitionId, partitionId } from './types.ts'
export { batchDigest, type SignedBatch } from './wal/batch-digest.ts'
export { DIGEST_BYTES, genesisCursor, nextDigest, sameCursor, sameDigest } from './wal/cursor.ts'
export { decodeRecord, encodeRecord, RECORD_LIMITS } from './wal/record-codec.ts'
