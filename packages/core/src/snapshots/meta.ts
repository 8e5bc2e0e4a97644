/** `meta.json` of a snapshot: the fields raft's tools know, and ours. Nothing in it is secret. */

import { SnapshotError } from './snapshot-error.ts'

export interface SnapshotMeta {
  clusterId: string
  clusterName: string
  /** How the cluster is sealed: `shamir`, or the auto seal's type. */
  sealType: string
  /** ms since the epoch. */
  takenAt: number
  /** Place in the cluster's log. */
  epoch: number
  index: number
}

const FORMAT = 1
const MAX_TEXT = 500

export function encodeMeta(meta: SnapshotMeta, stateBytes: number): Buffer {
  const { clusterId, clusterName, sealType, takenAt, epoch, index } = meta
  const shown = {
    ...{ Version: 1, ID: `lockstep-${epoch}-${index}-${takenAt}`, Index: index, Term: epoch, Size: stateBytes },
    Lockstep: {
      format: FORMAT,
      cluster_id: clusterId,
      cluster_name: clusterName,
      seal_type: sealType,
      taken_at: new Date(takenAt).toISOString(),
    },
  }
  return Buffer.from(`${JSON.stringify(shown)}\n`)
}

/** Throws `SnapshotError`. */
export function decodeMeta(bytes: Uint8Array): SnapshotMeta {
  let parsed: unknown
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw new SnapshotError('meta.json of the snapshot is not JSON')
  }
  const { Index: index, Term: epoch, Lockstep: own } = (parsed ?? {}) as Record<string, unknown>
  if (typeof own !== 'object' || own === null) {
    throw new SnapshotError(
      'meta.json of the snapshot says nothing of Lockstep: snapshots of other servers hold another storage format',
    )
  }
  const fields = own as Record<string, unknown>
  if (fields.format !== FORMAT) {
    throw new SnapshotError(
      `the snapshot has format ${JSON.stringify(fields.format)?.slice(0, 20)}, this version reads format ${FORMAT}`,
    )
  }
  const text = (name: string): string => {
    const value = fields[name]
    if (typeof value !== 'string' || value.length > MAX_TEXT)
      throw new SnapshotError(`meta.json of the snapshot: ${name} must be a text`)
    return value
  }
  const number = (name: string, value: unknown): number => {
    if (!Number.isSafeInteger(value) || (value as number) < 0)
      throw new SnapshotError(`meta.json of the snapshot: ${name} must be a whole number`)
    return value as number
  }
  const takenAt = Date.parse(text('taken_at'))
  if (Number.isNaN(takenAt)) throw new SnapshotError('meta.json of the snapshot: taken_at must be a time')
  return {
    ...{ clusterId: text('cluster_id'), clusterName: text('cluster_name'), sealType: text('seal_type'), takenAt },
    ...{ epoch: number('Term', epoch), index: number('Index', index) },
  }
}
