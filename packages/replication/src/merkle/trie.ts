/**
 * One partition's tree: a 16-ary trie over the nibbles of key ids. A subtree of at most `BUCKET_ENTRIES` entries is one
 * bucket, any larger one an inner node, so the shape, and with it every hash, depends on the set alone and not on the
 * order of the operations that made it.
 *
 * A bucket keeps its entries sorted in one array behind its own hash; hashes are computed when asked for, along the
 * paths that changed since.
 */
import { sha256Parts } from '../sha256.ts'
import { compareKeyIds, ENTRY_BYTES, HEX_DIGITS, KEY_ID_BYTES, nibbleAt, nibbleOf, type TreePath } from './leaf.ts'

/** A subtree of at most this many entries is a bucket. Part of the protocol: both ends must agree. */
export const BUCKET_ENTRIES = 64
export const NODE_HASH_BYTES = 32

/** Stands for an absent subtree among the children of an inner node, and for an empty tree. */
export const EMPTY_HASH: Uint8Array = new Uint8Array(NODE_HASH_BYTES)

const FAN_OUT = 16
const BUCKET = new TextEncoder().encode('lockstep bucket v1\n')
const INNER = new TextEncoder().encode('lockstep inner v1\n')
/** Entries a full bucket array grows by; small, because there are many buckets. */
const GROWTH = 4

export interface Bucket {
  readonly kind: 'bucket'
  count: number
  /** Its hash (valid when `clean`), then the packed entries, then room for more. */
  bytes: Uint8Array
  clean: boolean
}

export interface Inner {
  readonly kind: 'inner'
  count: number
  readonly children: (TrieNode | undefined)[]
  readonly hash: Uint8Array
  clean: boolean
}

export type TrieNode = Bucket | Inner

/** Adds or replaces one entry; returns the node that now stands in the place of `node`. */
export function setEntry(
  node: TrieNode | undefined,
  depth: number,
  keyId: Uint8Array,
  digest: Uint8Array,
): { node: TrieNode; added: boolean } {
  if (node === undefined) {
    const bucket = emptyBucket(1)
    writeEntry(bucket, 0, keyId, digest)
    bucket.count = 1
    return { node: bucket, added: true }
  }
  if (node.kind === 'inner') {
    const nibble = nibbleAt(keyId, 0, depth)
    const result = setEntry(node.children[nibble], depth + 1, keyId, digest)
    node.children[nibble] = result.node
    if (result.added) node.count++
    node.clean = false
    result.node = node
    return result
  }
  const place = findEntry(node, keyId)
  node.clean = false
  if (place >= 0) {
    writeEntry(node, place, keyId, digest)
    return { node, added: false }
  }
  insertEntry(node, ~place, keyId, digest)
  return { node: node.count > BUCKET_ENTRIES ? split(node, depth) : node, added: true }
}

/** Removes one entry; `node` is undefined when nothing is left in its place. */
export function removeEntry(
  node: TrieNode | undefined,
  depth: number,
  keyId: Uint8Array,
): { node: TrieNode | undefined; removed: boolean } {
  if (node === undefined) return { node, removed: false }
  if (node.kind === 'inner') {
    const nibble = nibbleAt(keyId, 0, depth)
    const result = removeEntry(node.children[nibble], depth + 1, keyId)
    if (!result.removed) return { node, removed: false }
    node.children[nibble] = result.node
    node.count--
    node.clean = false
    return { node: node.count <= BUCKET_ENTRIES ? merged(node) : node, removed: true }
  }
  const place = findEntry(node, keyId)
  if (place < 0) return { node, removed: false }
  if (node.count === 1) return { node: undefined, removed: true }
  const start = entryOffset(place)
  node.bytes.copyWithin(start, start + ENTRY_BYTES, entryOffset(node.count))
  node.count--
  node.clean = false
  return { node, removed: true }
}

/** The packed entry of the key id as [bucket, place], or undefined. */
export function findLeaf(root: TrieNode | undefined, keyId: Uint8Array): [Bucket, number] | undefined {
  let node = root
  for (let depth = 0; node?.kind === 'inner'; depth++) node = node.children[nibbleAt(keyId, 0, depth)]
  if (node === undefined) return undefined
  const place = findEntry(node, keyId)
  return place < 0 ? undefined : [node, place]
}

/** What stands at `path`: a node of the tree, or, below a bucket, the part of it that lies under `path`. */
export function nodeAt(root: TrieNode | undefined, path: TreePath): TrieNode | undefined {
  let node = root
  for (let depth = 0; depth < path.length; depth++) {
    if (node === undefined) return undefined
    if (node.kind === 'bucket') return bucketUnder(node, path, depth)
    node = node.children[nibbleOf(path, depth)]
  }
  return node
}

/** The node's hash; shared memory, do not change or keep it. */
export function nodeHash(node: TrieNode | undefined): Uint8Array {
  if (node === undefined) return EMPTY_HASH
  if (node.kind === 'bucket') {
    const hash = node.bytes.subarray(0, NODE_HASH_BYTES)
    if (!node.clean) {
      hash.set(sha256Parts(BUCKET, packedEntries(node)))
      node.clean = true
    }
    return hash
  }
  if (!node.clean) {
    node.hash.set(sha256Parts(INNER, ...node.children.map(nodeHash)))
    node.clean = true
  }
  return node.hash
}

/** The bucket's entries, packed and sorted by key id; shared memory. */
export function packedEntries(bucket: Bucket): Uint8Array {
  return bucket.bytes.subarray(NODE_HASH_BYTES, entryOffset(bucket.count))
}

/** Every bucket under the node, in key id order. */
export function* bucketsOf(node: TrieNode | undefined): Generator<Bucket> {
  if (node === undefined) return
  if (node.kind === 'bucket') yield node
  else for (const child of node.children) yield* bucketsOf(child)
}

/** Like `bucketsOf`, but without the subtrees that lie wholly before `keyId`. */
export function* bucketsFrom(node: TrieNode | undefined, depth: number, keyId: Uint8Array): Generator<Bucket> {
  if (node === undefined) return
  if (node.kind === 'bucket') {
    yield node
    return
  }
  const first = nibbleAt(keyId, 0, depth)
  yield* bucketsFrom(node.children[first], depth + 1, keyId)
  for (let nibble = first + 1; nibble < FAN_OUT; nibble++) yield* bucketsOf(node.children[nibble])
}

function emptyBucket(room: number): Bucket {
  return { kind: 'bucket', count: 0, bytes: new Uint8Array(NODE_HASH_BYTES + room * ENTRY_BYTES), clean: false }
}

function entryOffset(place: number): number {
  return NODE_HASH_BYTES + place * ENTRY_BYTES
}

function writeEntry(bucket: Bucket, place: number, keyId: Uint8Array, digest: Uint8Array): void {
  const start = entryOffset(place)
  bucket.bytes.set(keyId, start)
  bucket.bytes.set(digest, start + KEY_ID_BYTES)
}

/** The entry's place, or the complement of the place where it belongs. */
function findEntry(bucket: Bucket, keyId: Uint8Array): number {
  let low = 0
  let high = bucket.count - 1
  while (low <= high) {
    const middle = (low + high) >> 1
    const order = compareKeyIds(bucket.bytes, entryOffset(middle), keyId, 0)
    if (order === 0) return middle
    if (order < 0) low = middle + 1
    else high = middle - 1
  }
  return ~low
}

function insertEntry(bucket: Bucket, place: number, keyId: Uint8Array, digest: Uint8Array): void {
  const end = entryOffset(bucket.count)
  if (end + ENTRY_BYTES > bucket.bytes.length) {
    const larger = new Uint8Array(entryOffset(bucket.count + GROWTH))
    larger.set(bucket.bytes.subarray(0, end))
    bucket.bytes = larger
  }
  const start = entryOffset(place)
  bucket.bytes.copyWithin(start + ENTRY_BYTES, start, end)
  writeEntry(bucket, place, keyId, digest)
  bucket.count++
}

function split(bucket: Bucket, depth: number): Inner {
  const children: (TrieNode | undefined)[] = []
  let place = 0
  for (let nibble = 0; nibble < FAN_OUT; nibble++) {
    const first = place
    while (place < bucket.count && nibbleAt(bucket.bytes, entryOffset(place), depth) === nibble) place++
    const child = slice(bucket, first, place)
    children.push(child && child.count > BUCKET_ENTRIES ? split(child, depth + 1) : child)
  }
  return { kind: 'inner', count: bucket.count, children, hash: new Uint8Array(NODE_HASH_BYTES), clean: false }
}

function merged(inner: Inner): Bucket {
  const bucket = emptyBucket(inner.count)
  for (const part of bucketsOf(inner)) {
    bucket.bytes.set(packedEntries(part), entryOffset(bucket.count))
    bucket.count += part.count
  }
  return bucket
}

function bucketUnder(bucket: Bucket, path: TreePath, depth: number): Bucket | undefined {
  let first = 0
  let end = bucket.count
  for (let level = depth; level < path.length && first < end; level++) {
    const nibble = nibbleOf(path, level)
    while (first < end && nibbleAt(bucket.bytes, entryOffset(first), level) !== nibble) first++
    let last = first
    while (last < end && nibbleAt(bucket.bytes, entryOffset(last), level) === nibble) last++
    end = last
  }
  return slice(bucket, first, end)
}

function slice(bucket: Bucket, first: number, end: number): Bucket | undefined {
  if (first >= end) return undefined
  const part = emptyBucket(end - first)
  part.bytes.set(bucket.bytes.subarray(entryOffset(first), entryOffset(end)), NODE_HASH_BYTES)
  part.count = end - first
  return part
}

/** The path of a child. */
export function childPath(path: TreePath, nibble: number): TreePath {
  return path + HEX_DIGITS[nibble]!
}
