/** What is wrong with a snapshot; the message is for the operator. */
export class SnapshotError extends Error {
  override readonly name = 'SnapshotError'
  readonly code = 'SNAPSHOT_REFUSED'
}
