/**
 * Moves what a cluster has stored to another storage while no server runs on either, and proves that it is there: every row by a
 * digest of them all, read back from the destination, and the data by the Merkle roots that replication compares.
 */
import { randomUUID } from 'node:crypto'
import type { MerkleForest } from '@lockstep/replication'
import { merkleForest } from '@lockstep/replication'
import { copiedLeaf, rowCopy } from '@lockstep/replication-driver'
import { type LeaderLock, type Store, storeEngine, type WriteOperation } from '@lockstep/storage'
import { type Clock, CoreError } from '../contracts.ts'
import { openGenerations } from '../seal-life-cycle/generations.ts'
import { registeredNodes } from '../seal-life-cycle/node-registry.ts'
import { copyRows } from './copy-rows.ts'
import { MIGRATION, type MigrationRecord, readMigration, removeMigration, writeMigration } from './migration-lock.ts'
import { leaves, type StorageDigest, storageDigest } from './storage-digest.ts'

export interface MigrationEnd {
  store: Store
  /** Of the servers on it; held meanwhile as far as it can be. What keeps servers away is the record of the migration. */
  lock?: LeaderLock | undefined
}

export interface MigrationOptions {
  /** Go on from this name, on a destination that an earlier attempt has left. Default: start over. */
  start?: string | undefined
  /** Batches written at the same time. Default 10. */
  maxParallel?: number | undefined
  /** Rows written at once. Default 1000. */
  batchRows?: number | undefined
  signal: AbortSignal
  onProgress?(progress: { phase: 'copying' | 'verifying'; rows: number }): void
}

export interface MigrationReport {
  rows: number
  /** SHA-256 over every row, hex. */
  digest: string
  /** Composed of all partitions, hex: what `merkle_root` of the DR status begins with. */
  root: string
  partitions: { partition: string; keys: number; root: string }[]
  copyMs: number
  verifyMs: number
}

/** It was interrupted; `start` is where to go on. */
export class MigrationInterrupted extends Error {
  override readonly name = 'MigrationInterrupted'
  readonly start: string
  constructor(start: string, options?: ErrorOptions) {
    super(`the migration has not ended; what is copied is kept: go on with -start=${JSON.stringify(start)}`, options)
    this.start = start
  }
}

/** After every name: all is copied. */
const AFTER_ALL = '~'
/** Told to nobody but the storage they are in. */
const OWN = /^nodes\//
/** Longer than a lock outlives a migration that was killed. */
const LOCK_MS = 20_000
const DELETE_ROWS = 1000
/** Nodes show themselves every five seconds, and take the record away when they stop in order. */
const NODE_GONE_MS = 15_000

/** Rejects with `CoreError` that says why, or `MigrationInterrupted`. */
export async function migrateStorage(
  ends: { source: MigrationEnd; destination: MigrationEnd; clock: Clock },
  options: MigrationOptions,
): Promise<MigrationReport> {
  const { clock } = ends
  const undo: (() => Promise<void>)[] = []
  try {
    await alone(ends.source, 'storage_source', undo, clock)
    await alone(ends.destination, 'storage_destination', undo, clock)
    const [from, to] = [ends.source.store, ends.destination.store]
    const record = await begin(from, to, options, clock)
    undo.push(() => removeMigration(from))
    if (options.start === undefined) await empty(to, record)
    const report = await copyAndVerify(from, to, options, clock)
    await removeMigration(to)
    return report
  } finally {
    for (const end of undo.reverse()) await end()
  }
}

/** Removes the lock that an attempt has left which did not end in order. */
export async function resetMigration(source: Pick<Store, 'get' | 'delete'>): Promise<void> {
  if ((await readMigration(source))?.role === 'destination') {
    throw refused('storage_source is the destination of a migration that has not ended, which its lock says')
  }
  await removeMigration(source)
}

/** Rejects with CORE_UNAVAILABLE while a server runs there. */
async function alone(end: MigrationEnd, which: string, undo: (() => Promise<void>)[], clock: Clock): Promise<void> {
  await assertNoNode(end.store, which, clock)
  const { lock } = end
  if (lock === undefined) return
  const inUse = (cause?: unknown): CoreError =>
    new CoreError('CORE_UNAVAILABLE', `${which} is in use: a running server leads there; stop it first`, { cause })
  if ((await lock.holder()) !== undefined) throw inUse()
  const held = await lock.acquire(AbortSignal.timeout(LOCK_MS)).catch((error: Error) => {
    throw error.name === 'TimeoutError' ? inUse(error) : error
  })
  undo.push(() => held.release())
}

/** Standbys and sealed nodes have no lock, and would lead as soon as it is free. */
async function assertNoNode(store: Store, which: string, clock: Clock): Promise<void> {
  for await (const { name, seenAt } of registeredNodes(store)) {
    const age = clock.now() - seenAt
    if (age > NODE_GONE_MS) continue
    throw new CoreError(
      'CORE_UNAVAILABLE',
      `${which} is in use: the node ${name} was there ${Math.max(0, Math.round(age / 1000))} s ago; stop every node first`,
    )
  }
}

async function begin(from: Store, to: Store, { start }: MigrationOptions, clock: Clock): Promise<MigrationRecord> {
  const [left, there] = [await readMigration(from), await readMigration(to)]
  if (left?.role === 'destination') throw refused('storage_source is the destination of a migration that has not ended')
  if (there?.role === 'source') throw refused('storage_destination is the source of a migration')
  if (left !== undefined && start === undefined) {
    throw refused(
      `storage migration in progress (started: ${new Date(left.startedAt).toISOString()}); if none is running, go on with -start or remove the lock with -reset`,
    )
  }
  if (start !== undefined && there === undefined)
    throw refused('-start needs a destination that an earlier migration has left')
  if (there !== undefined && left !== undefined && left.id !== there.id) {
    throw refused('storage_destination has what an unfinished migration of another storage has left')
  }
  if (there === undefined && !(await isEmpty(to))) throw refused('storage_destination is not empty')
  if (await isEmpty(from)) throw refused('storage_source is empty')
  const record: MigrationRecord = { role: 'source', id: there?.id ?? randomUUID(), startedAt: clock.now() }
  await writeMigration(from, record)
  // Both names may mean one storage.
  if ((await readMigration(to))?.id === record.id && there === undefined) {
    await removeMigration(from)
    throw refused('storage_source and storage_destination are the same storage')
  }
  return record
}

async function isEmpty(store: Store): Promise<boolean> {
  for await (const [key] of store.scan({ limit: 100 })) if (key !== MIGRATION && !OWN.test(key)) return false
  return true
}

async function empty(to: Store, record: MigrationRecord): Promise<void> {
  await writeMigration(to, { ...record, role: 'destination' })
  for (;;) {
    const operations: WriteOperation[] = []
    for await (const [key] of to.scan({ limit: DELETE_ROWS })) {
      if (key !== MIGRATION) operations.push({ type: 'delete', key })
    }
    if (operations.length === 0) return
    await storeEngine(to).write(operations)
  }
}

async function copyAndVerify(
  from: Store,
  to: Store,
  options: MigrationOptions,
  clock: Clock,
): Promise<MigrationReport> {
  const { signal, onProgress, maxParallel = 10, batchRows, start } = options
  const generation = await currentGeneration(from)
  const includes = (name: string): boolean =>
    name !== MIGRATION && !OWN.test(name) && (!/^g\d+\//.test(name) || name.startsWith(generation))
  const began = clock.now()
  const onRows = (rows: number): void => onProgress?.({ phase: 'copying', rows })
  const { stoppedAt } = await copyRows(from, to, { start, includes, maxParallel, batchRows, signal, onRows }).catch(
    (cause: unknown) => {
      const at = (cause as { stoppedAt?: unknown }).stoppedAt
      throw typeof at === 'string' ? new MigrationInterrupted(at, { cause }) : cause
    },
  )
  if (stoppedAt !== undefined) throw new MigrationInterrupted(stoppedAt)
  const copied = clock.now()

  const interrupted = (cause: unknown): never => {
    throw signal.aborted ? new MigrationInterrupted(AFTER_ALL, { cause }) : cause
  }
  const verified = (rows: number): void => onProgress?.({ phase: 'verifying', rows })
  const index = await indexOf(to, generation)
  const [here, there] = await Promise.all([
    storageDigest(included(from, includes, signal), { generation, onRows: verified }),
    storageDigest(included(to, includes, signal), { generation, expected: index, onRows: verified }),
  ]).catch(interrupted)
  assertSame(here, there)
  const { forest } = there
  return {
    ...{ rows: there.count, digest: there.rows, root: hex(forest.composedRoot(() => true)) },
    partitions: forest.partitions().map((partition) => ({
      ...{ partition, keys: forest.count(partition), root: hex(forest.root(partition)) },
    })),
    ...{ copyMs: copied - began, verifyMs: clock.now() - copied },
  }
}

/** `g<n>/`. What others there are were to be deleted. */
async function currentGeneration(from: Store): Promise<string> {
  const quiet = { debug() {}, info() {}, warn() {}, error() {} }
  const generations = await openGenerations(from, quiet, { clean: false })
  await generations.close()
  return `g${generations.number()}/`
}

async function indexOf(store: Store, generation: string): Promise<MerkleForest> {
  const forest = merkleForest()
  for await (const [name, value] of store.scan({ prefix: generation + rowCopy.index })) {
    const leaf = copiedLeaf(name.slice(generation.length), value)!
    forest.set(leaf.partition, leaf.keyId, leaf.digest)
  }
  return forest
}

async function* included(store: Store, includes: (name: string) => boolean, signal: AbortSignal) {
  for await (const entry of store.scan()) {
    signal.throwIfAborted()
    if (includes(entry[0])) yield entry
  }
}

function assertSame(here: StorageDigest, there: StorageDigest): void {
  const root = (digest: StorageDigest): string => hex(digest.forest.composedRoot(() => true))
  if (root(here) !== root(there)) {
    throw new CoreError(
      'CORE_INTERNAL',
      `the Merkle roots differ: ${root(here)} in the source (${leaves(here.forest)} keys), ${root(there)} in the destination (${leaves(there.forest)} keys); start over`,
    )
  }
  if (here.rows !== there.rows) {
    throw new CoreError(
      'CORE_INTERNAL',
      `the destination differs from the source (${there.count} rows, ${here.count} in the source): was the source written to? Start over`,
    )
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function refused(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
