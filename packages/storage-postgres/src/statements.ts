import type { KeyBounds, WriteOperation } from '@lockstep/storage'
import { byteaArray, HEAD_BYTES, splitKey, successor } from './bytes.ts'
import type { Fence } from './fence.ts'
import type { Statement } from './lane.ts'
import type { Names } from './names.ts'

/** Greater than every key: no UTF-8 has this byte. */
const END = Buffer.from([0xff])

/** Two bounds, the lower inclusive and the upper exclusive. */
export interface ByteRange {
  lower: Buffer
  upper: Buffer
}

export function byteRange(bounds: KeyBounds): ByteRange {
  const { lower = '', lowerInclusive, upper } = bounds
  return {
    lower: lowerInclusive || lower === '' ? Buffer.from(lower) : successor(lower),
    upper: upper === undefined ? END : Buffer.from(upper),
  }
}

// The comparisons of heads alone are implied; they are what the index can use.
const IN_RANGE = 'head >= $1 AND (head, tail) >= ($1, $2) AND head <= $3 AND (head, tail) < ($3, $4)'

function rangeValues(range: ByteRange): Buffer[] {
  const lower = splitKey(range.lower)
  const upper = splitKey(range.upper)
  return [lower.head, lower.tail, upper.head, upper.tail]
}

/** The SQL of one store. Rows come as arrays. */
export class Statements {
  readonly #names: Names
  readonly #apply: string
  readonly #put: string
  readonly #list: string

  constructor(names: Names, fence: Fence | undefined) {
    this.#names = names
    this.#apply = applyText(names.entries, fence)
    this.#put = putText(names.entries, fence)
    this.#list = listText(names.entries)
  }

  /** Rows [value]. */
  get(key: string): Statement {
    const { head, tail } = splitKey(key)
    return {
      name: `get ${this.#names.entries}`,
      text: `SELECT value FROM ${this.#names.entries} WHERE head = $1 AND tail = $2`,
      values: [head, tail],
    }
  }

  /** Rows [value or null], one for each key, in order. */
  getMany(keys: readonly string[]): Statement {
    const split = keys.map(splitKey)
    return {
      name: `get many ${this.#names.entries}`,
      text: `SELECT e.value
        FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY AS k (head, tail, position)
        LEFT JOIN ${this.#names.entries} e ON e.head = k.head AND e.tail = k.tail
        ORDER BY k.position`,
      values: [byteaArray(split.map(({ head }) => head)), byteaArray(split.map(({ tail }) => tail))],
    }
  }

  /** Rows [key, value], `limit` of them at most, and none once those before it have `bytes` of values. */
  scan(range: ByteRange, reverse: boolean, limit: number, bytes: number): Statement {
    const order = reverse ? 'DESC' : 'ASC'
    // Lengths are in the rows; long values themselves are fetched only for the rows that are answered.
    return {
      name: `scan ${this.#names.entries} ${order}`,
      text: `SELECT head || tail, value FROM (
          SELECT head, tail, value, sum(octet_length(value)) OVER (
            ORDER BY head ${order}, tail ${order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
          FROM (SELECT head, tail, value FROM ${this.#names.entries}
            WHERE ${IN_RANGE} ORDER BY head ${order}, tail ${order} LIMIT $5) AS e
        ) AS e WHERE before IS NULL OR before < $6 ORDER BY head ${order}, tail ${order}`,
      values: [...rangeValues(range), limit, bytes],
    }
  }

  /** Rows [key], the first key of each child of the prefix. */
  list(prefix: string, range: ByteRange, limit: number): Statement {
    return {
      name: `list ${this.#names.entries}`,
      text: this.#list,
      values: [...rangeValues(range), Buffer.byteLength(prefix), limit],
    }
  }

  /** One row [1], or [0] when the fence refused and nothing was written. Keys must differ. */
  apply(operations: readonly WriteOperation[], fence: Fence | undefined): Statement {
    const deleted: { head: Buffer; tail: Buffer }[] = []
    const put: { head: Buffer; tail: Buffer }[] = []
    const values: Uint8Array[] = []
    for (const operation of operations) {
      if (operation.type === 'put') {
        put.push(splitKey(operation.key))
        values.push(operation.value)
      } else {
        deleted.push(splitKey(operation.key))
      }
    }
    const guard = fence === undefined ? [] : [fence.name, String(fence.token)]
    const puts = [byteaArray(put.map(({ head }) => head)), byteaArray(put.map(({ tail }) => tail)), byteaArray(values)]
    if (deleted.length === 0) {
      return { name: `put ${this.#names.entries}`, text: this.#put, values: [...puts, ...guard] }
    }
    const deletes = [byteaArray(deleted.map(({ head }) => head)), byteaArray(deleted.map(({ tail }) => tail))]
    return { name: `apply ${this.#names.entries}`, text: this.#apply, values: [...puts, ...guard, ...deletes] }
  }
}

/**
 * Puts ($1, $2, $3). The fence ($4, $5) is read with a lock that a new leader has to wait for, so either this write is over before the
 * new leader starts, or it sees the new token.
 */
function putText(entries: string, fence: Fence | undefined): string {
  return `WITH ${fenceText(fence)}, ${storedText(entries, fence)} SELECT count(*)::integer FROM fence`
}

/** The same, and deletes. */
function applyText(entries: string, fence: Fence | undefined): string {
  const [heads, tails] = fence === undefined ? ['$4', '$5'] : ['$6', '$7']
  return `WITH ${fenceText(fence)}, ${storedText(entries, fence)},
    deleted AS (
      DELETE FROM ${entries} e USING unnest(${heads}::bytea[], ${tails}::bytea[]) AS k (head, tail)
      WHERE e.head = k.head AND e.tail = k.tail AND ${guardText(fence)}
    )
    SELECT count(*)::integer FROM fence`
}

function storedText(entries: string, fence: Fence | undefined): string {
  return `stored AS (
      INSERT INTO ${entries} (head, tail, value)
      SELECT head, tail, value FROM unnest($1::bytea[], $2::bytea[], $3::bytea[]) AS k (head, tail, value)
      WHERE ${guardText(fence)}
      ON CONFLICT (head, digest) DO UPDATE SET value = excluded.value
    )`
}

function fenceText(fence: Fence | undefined): string {
  const found =
    fence === undefined
      ? 'SELECT 1'
      : `SELECT 1 FROM ${fence.names.leaders} WHERE name = $4 AND token = $5::bigint FOR SHARE`
  return `fence AS MATERIALIZED (${found})`
}

function guardText(fence: Fence | undefined): string {
  return fence === undefined ? 'true' : 'EXISTS (SELECT FROM fence)'
}

/**
 * Jumps from child to child in the index: behind a leaf follows the next key, behind a folder the first key that is
 * not in it. "0" is the byte after "/", and key || 0x00 the least key after key. Range $1 to $4, length of the prefix
 * in bytes $5, limit $6.
 */
function listText(entries: string): string {
  return `WITH RECURSIVE child (key) AS (
      (SELECT head || tail FROM ${entries} WHERE ${IN_RANGE} ORDER BY head, tail LIMIT 1)
    UNION ALL
      SELECT next.key
      FROM child,
      LATERAL (SELECT position('\\x2f'::bytea IN substring(child.key FROM $5::integer + 1)) AS slash) AS s,
      LATERAL (
        SELECT CASE WHEN slash = 0 THEN child.key || '\\x00'::bytea
          ELSE substring(child.key FROM 1 FOR $5::integer + slash - 1) || '\\x30'::bytea END AS bound
      ) AS b,
      LATERAL (
        SELECT substring(bound FROM 1 FOR ${HEAD_BYTES}) AS bound_head, substring(bound FROM ${HEAD_BYTES + 1}) AS bound_tail
      ) AS split,
      LATERAL (
        SELECT head || tail AS key FROM ${entries}
        WHERE head >= bound_head AND (head, tail) >= (bound_head, bound_tail)
          AND head <= $3 AND (head, tail) < ($3, $4)
        ORDER BY head, tail LIMIT 1
      ) AS next
    )
    SELECT key FROM child LIMIT $6`
}
