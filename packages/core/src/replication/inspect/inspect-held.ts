/**
 * What a secondary holds, as it says itself over the link: for every partition of the classes the link carries the count of keys
 * and the Merkle digest. The request names nothing, so a secondary learns nothing from it of what it does not hold.
 */
import { type ForestReader, type Plain, type Position, parsePartitionId } from '@lockstep/replication'
import { CoreError } from '../../contracts.ts'
import { inKind } from '../in-kind.ts'
import type { ReplicationKind } from '../role-records.ts'

export const INSPECT = 'inspect'

/** Partitions in one answer; far below the limits of a message. */
export const HELD_PAGE = 1000
const LONGEST_ID = 256
const DIGEST_BYTES = 32

export interface HeldPartition {
  /** `<class>/<mount uuid>` or `<class>/core`. */
  id: string
  keys: number
  /** 32 bytes. */
  digest: Uint8Array
}

export interface HeldPage {
  /** Place in the primary's log at which it was taken; null during a sync. */
  cursor: { epoch: number; index: number } | null
  /** Name of the view the secondary was last brought in line with. */
  view: string
  /** By ascending id. */
  partitions: HeldPartition[]
  more: boolean
}

/** Sorted as ids sort, those after `after` only. */
export function heldPage(
  forest: ForestReader,
  kind: ReplicationKind,
  position: Pick<Position, 'cursor' | 'view'>,
  { after = '', limit = HELD_PAGE }: { after?: string; limit?: number } = {},
): HeldPage {
  const ids = forest.partitions().filter((id) => id > after && inKind(kind, id))
  const { cursor, view } = position
  return {
    cursor: cursor && { epoch: cursor.epoch, index: cursor.index },
    view,
    partitions: ids.slice(0, limit).map((id) => ({ id, keys: forest.count(id), digest: forest.root(id) })),
    more: ids.length > limit,
  }
}

/** The secondary's answer to the primary's `inspect`. `body` is `{after: string}`. */
export async function answerInspect(
  body: Plain,
  kind: ReplicationKind,
  forest: ForestReader,
  position: () => Pick<Position, 'cursor' | 'view'>,
): Promise<Plain> {
  const after = fieldsOf(body).after
  if (typeof after !== 'string' || after.length > LONGEST_ID) throw bad('after', 'a partition id')
  // A batch that has just become durable shows in the forest first and in the position some promises later, in the same turn.
  await new Promise((resolve) => setImmediate(resolve))
  const { cursor, view, partitions, more } = heldPage(forest, kind, position(), { after })
  return {
    cursor,
    view,
    partitions: partitions.map(({ id, keys, digest }) => [id, keys, digest]),
    more,
  }
}

/** Throws CORE_INVALID_REQUEST naming the field. Ids must ascend from `after`, so that pages end. */
export function parseHeldPage(body: Plain, after: string): HeldPage {
  const { cursor, view, partitions, more } = fieldsOf(body)
  if (typeof view !== 'string' || view.length > LONGEST_ID) throw bad('view', 'the name of a view')
  if (typeof more !== 'boolean') throw bad('more', 'true or false')
  if (!Array.isArray(partitions) || partitions.length > HELD_PAGE) {
    throw bad('partitions', `a list of at most ${HELD_PAGE}`)
  }
  if (more && partitions.length === 0) throw bad('partitions', 'at least one where more follow')
  let last = after
  const parsed = partitions.map((item): HeldPartition => {
    const [id, keys, digest] = Array.isArray(item) ? item : []
    if (typeof id !== 'string' || id.length > LONGEST_ID || parsePartitionId(id) === undefined || id <= last) {
      throw bad('partitions', 'partition ids in ascending order')
    }
    if (!isCount(keys)) throw bad('partitions', 'counts of keys')
    if (!(digest instanceof Uint8Array) || digest.length !== DIGEST_BYTES)
      throw bad('partitions', 'digests of 32 bytes')
    last = id
    return { id, keys, digest }
  })
  return { cursor: parseCursor(cursor), view, partitions: parsed, more }
}

function parseCursor(value: Plain | undefined): HeldPage['cursor'] {
  if (value === null) return null
  const { epoch, index } = fieldsOf(value ?? null)
  if (!isCount(epoch) || !isCount(index)) throw bad('cursor', 'epoch and index, or null')
  return { epoch, index }
}

function fieldsOf(body: Plain): Record<string, Plain | undefined> {
  if (typeof body !== 'object' || body === null || Array.isArray(body) || body instanceof Uint8Array) {
    throw bad('body', 'an object')
  }
  return body
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function bad(field: string, expected: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', `inspect: ${field}: expected ${expected}`)
}
