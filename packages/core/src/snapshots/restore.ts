/**
 * Reads a snapshot into a generation of the storage that nothing uses yet, and checks it there, while the cluster goes on serving.
 * Nothing of it counts until that generation is made current, by one write (ADR 4).
 */
import { randomBytes } from 'node:crypto'
import { BarrierError, type Keyring, openKeyring } from '@lockstep/barrier'
import { type Cursor, decodePosition, encodePosition } from '@lockstep/replication'
import {
  continuedHead,
  copiedHead,
  isLeafOf,
  type LoggedStore,
  replacedValue,
  rowCopy,
} from '@lockstep/replication-driver'
import { type Store, storeEngine, type WriteOperation } from '@lockstep/storage'
import type { Clock } from '../contracts.ts'
import { opensAll } from '../replication/changes/adopt-keyring.ts'
import { type RoleRecords, roleKeys } from '../replication/role-records.ts'
import { sealKeys } from '../seal-life-cycle/seal-config.ts'
import { readArchive } from './archive.ts'
import { decodeMeta, type SnapshotMeta } from './meta.ts'
import { encodeRestored, RESTORED } from './restored.ts'
import { assertSameRoles, KINDS, otherKeys, type RolesOf, rolesOf, stagedRoles } from './same-cluster.ts'
import { SnapshotError } from './snapshot-error.ts'
import { decodeState, type Row } from './state-codec.ts'
import type { SumsSeal } from './sums-seal.ts'

export interface RestoreComponents {
  /** An empty generation. */
  target: Store
  seal: SumsSeal
  clusterId: string
  /** `shamir`, or the auto seal's type. */
  sealType: string
  /** The keyring held. */
  keyring(): Keyring
  /** Of the cluster as it is. */
  roles: Pick<RoleRecords, 'role'>
  clock: Clock
}

export interface RestoreOptions {
  /** Take what is of another cluster, of other keys or of another role too. */
  force: boolean
  /** Most bytes of the uncompressed archive. */
  maxBytes: number
}

export interface StagedSnapshot {
  readonly meta: SnapshotMeta
  /** What unseals the cluster now unseals what was restored. */
  readonly sameKeys: boolean
  /**
   * Brings what was staged to where it can go on from `current`, which nothing writes any more. Rejects with CORE_INVALID_REQUEST when
   * the cluster's roles or its operators' shares are no longer those of the snapshot.
   */
  finish(current: Pick<LoggedStore, 'get' | 'log'>): Promise<void>
}

/** Says whose log places are meant, and a forced snapshot may bring another log. */
const LOG_IDENTITY = 'core/cluster/local/log'
const WRITE_ROWS = 500

/** Rejects with `SnapshotError`, and with CORE_INVALID_REQUEST for a snapshot that only force would take. */
export async function stageSnapshot(
  components: RestoreComponents,
  body: AsyncIterable<Uint8Array>,
  { force, maxBytes }: RestoreOptions,
): Promise<StagedSnapshot> {
  const { target, seal, clusterId, sealType, clock } = components
  const write = (operations: readonly WriteOperation[]): Promise<void> => storeEngine(target).write(operations)
  const read = (key: string): Promise<Uint8Array | undefined> => target.get(rowCopy.dataRow(key))
  let meta: SnapshotMeta | undefined
  let head: Uint8Array | undefined
  let keyringLeaf: string | undefined
  const isKeyringLeaf = isLeafOf(sealKeys.keyring)

  async function keep(rows: readonly Row[]): Promise<void> {
    for (const { name, value } of rows) {
      if (!rowCopy.includes(name))
        throw new SnapshotError(`state.bin has an unknown row ${JSON.stringify(name.slice(0, 40))}`)
      if (name === rowCopy.head) head = value
      else if (isKeyringLeaf(name)) keyringLeaf = name
    }
    for (let at = 0; at < rows.length; at += WRITE_ROWS) {
      await write(rows.slice(at, at + WRITE_ROWS).map(({ name, value }) => ({ type: 'put', key: name, value })))
    }
  }

  const { sums, sealed } = await readArchive(body, {
    maxBytes,
    meta(bytes) {
      meta = decodeMeta(bytes)
      // Before all of it is stored. What it says is proved by the sums.
      if (!force && meta.clusterId !== clusterId) throw otherKeys(sealType)
    },
    async state(chunks) {
      for await (const rows of decodeState(chunks)) await keep(rows)
    },
  })
  const place = checkedPlace(meta!, head)
  const ours = (await seal.opens(sealed, sums)) && (await seal.isFor({ get: read }))
  if (!force && !ours) throw otherKeys(sealType)
  const { sameKeys, keepKeyring, roles } = await examine()

  /**
   * `keepKeyring`: the one held opens all of the snapshot. Secondaries take over what is restored, and what they keep of their own may be
   * sealed by keys that were rotated in since: without those they could not even start.
   */
  async function examine(): Promise<{ sameKeys: boolean; keepKeyring: boolean; roles: RolesOf | undefined }> {
    const record = await read(sealKeys.keyring)
    if (record === undefined) throw new SnapshotError('the state in the snapshot has no keyring')
    const keyring = ours ? opened(components.keyring(), record) : undefined
    if (keyring === undefined) {
      if (!force) throw otherKeys(sealType)
      return { sameKeys: false, keepKeyring: false, roles: undefined }
    }
    try {
      const keepKeyring = opensAll(components.keyring(), keyring)
      if (force) return { sameKeys: true, keepKeyring, roles: undefined }
      const roles = await stagedRoles(target, keyring, clusterId)
      assertSameRoles(roles, await rolesOf(components.roles))
      return { sameKeys: true, keepKeyring, roles }
    } finally {
      keyring.close()
    }
  }

  function keyringNow(): WriteOperation[] {
    if (!keepKeyring || keyringLeaf === undefined) return []
    const rows = replacedValue(keyringLeaf, sealKeys.keyring, components.keyring().encrypt())
    return rows.map(([key, value]) => ({ type: 'put', key, value }))
  }

  /**
   * A stale primary is one of an earlier epoch than a secondary has followed. What it has followed since the snapshot must not be
   * forgotten.
   */
  async function followedEpochs(current: Pick<LoggedStore, 'get'>): Promise<WriteOperation[]> {
    const operations: WriteOperation[] = []
    for (const kind of KINDS) {
      const key = roleKeys.cursor(kind)
      const [now, then] = [await current.get(key), await read(key)]
      if (now === undefined || (then === undefined && roles?.[kind].mode !== 'secondary')) continue
      const { clusterId, epoch } = decodePosition(now)
      const position = then === undefined ? { clusterId, epoch: 0, view: '', cursor: null } : decodePosition(then)
      if (position.clusterId !== clusterId || position.epoch >= epoch) continue
      operations.push({ type: 'put', key: rowCopy.dataRow(key), value: encodePosition({ ...position, epoch }) })
    }
    return operations
  }

  return {
    meta: meta!,
    sameKeys,
    async finish(current) {
      // Another rekey or change of role may have come between; from here on none does.
      if (roles !== undefined) assertSameRoles(roles, await rolesOf(components.roles))
      if (ours && !(await seal.isFor({ get: read }))) throw otherKeys(sealType)
      const now = current.log.head()
      // After any place that a secondary or a client knows of, so that every secondary compares; in no later epoch than was led, so
      // that a promotion elsewhere still fences this cluster. The digest is none that a history could lead to.
      const next: Cursor = {
        epoch: Math.max(place.epoch, now.epoch),
        index: Math.max(place.index, now.index) + 1,
        digest: randomBytes(32),
      }
      const terms = sameKeys ? components.keyring().terms() : []
      const record = {
        ...{ at: clock.now(), takenAt: meta!.takenAt },
        encryptions: terms.map(({ term, encryptions }) => ({ term, encryptions })),
      }
      await write([
        { type: 'put', key: rowCopy.head, value: continuedHead(head!, next) },
        { type: 'put', key: rowCopy.dataRow(RESTORED), value: encodeRestored(record) },
        ...(force ? [{ type: 'delete', key: rowCopy.dataRow(LOG_IDENTITY) } as const] : []),
        ...keyringNow(),
        ...(await followedEpochs(current)),
      ])
    },
  }
}

function checkedPlace({ epoch, index }: SnapshotMeta, head: Uint8Array | undefined): Cursor {
  if (head === undefined) throw new SnapshotError('the state in the snapshot has no log head')
  let place: Cursor
  try {
    place = copiedHead(head)
  } catch (cause) {
    throw new SnapshotError(`the log head in the snapshot cannot be read: ${(cause as Error).message}`, { cause })
  }
  if (place.epoch !== epoch || place.index !== index) {
    throw new SnapshotError('meta.json of the snapshot names another place in the log than its state')
  }
  return place
}

/** The stored keyring, when the root key held opens it. */
function opened(held: Keyring, record: Uint8Array): Keyring | undefined {
  const rootKey = held.rootKey()
  try {
    return openKeyring(rootKey, record)
  } catch (error) {
    if (error instanceof BarrierError) return undefined
    throw error
  } finally {
    rootKey.fill(0)
  }
}
