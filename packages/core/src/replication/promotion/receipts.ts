/**
 * Receipts of promotions: who promoted this cluster when, and up to which record of the old primary's log it had come. What
 * was lost is what the old primary logged after that record. They travel in the bootstrap reply, so that each cluster of the set
 * knows the promotions of those it followed.
 */
import { readJson, writeJson } from '@lockstep/backend'
import type { Store, Transaction } from '@lockstep/storage'
import { type ReplicationKind, roleKeys } from '../role-records.ts'
import { rfc3339 } from '../status.ts'
import type { CursorRecord } from './cursor-record.ts'

/** Who asked for a promotion. Never a token itself. */
export interface PromotedBy {
  /** What proved the right to, for instance `dr operation token`, or a token's display name. */
  token: string
  /** Accessor of that token, "" where there is none. */
  accessor: string
  remoteAddress: string
}

export interface PromotionReceipt {
  kind: ReplicationKind
  /** Epoch that the promotion began. */
  epoch: number
  clusterId: string
  /** ms since the epoch. */
  at: number
  by: PromotedBy
  /** Place in the old primary's log up to which the promoted cluster held everything; null = in the middle of a sync, unknown. */
  from: CursorRecord | null
  /** Newest record of the old primary that was heard of since the process started; null = nothing was heard. */
  lastHeardIndex: number | null
  /** Of the old primary, ms since the epoch; 0 = none since the process started. */
  lastHeartbeat: number
  handedOver: boolean
  forced: boolean
  /** What spoke against it. */
  reasons: string[]
  /** The promotion of a cluster that this one followed. */
  inherited: boolean
}

export const MAX_RECEIPTS = 32

type Storage = Pick<Store | Transaction, 'get' | 'put' | 'delete' | 'list'>

export interface Receipts {
  /** Oldest epoch first. */
  all(kind: ReplicationKind): Promise<PromotionReceipt[]>
  read(kind: ReplicationKind, epoch: number): Promise<PromotionReceipt | undefined>
  /** The oldest beyond `MAX_RECEIPTS` are given up. */
  save(kind: ReplicationKind, receipts: readonly PromotionReceipt[]): Promise<void>
  clear(kind: ReplicationKind): Promise<void>
}

/** `storage` is the barrier (whole view) or a transaction of it. */
export function promotionReceipts(storage: Storage): Receipts {
  const prefix = (kind: ReplicationKind): string => roleKeys.receipts(kind)
  const name = (epoch: number): string => String(epoch).padStart(16, '0')
  const receipts: Receipts = {
    async all(kind) {
      const names = (await storage.list(prefix(kind))).sort()
      const found = await Promise.all(names.map((each) => readJson(storage, prefix(kind) + each)))
      return found.filter((receipt) => receipt !== undefined) as unknown as PromotionReceipt[]
    },
    async read(kind, epoch) {
      return (await readJson(storage, prefix(kind) + name(epoch))) as PromotionReceipt | undefined
    },
    async save(kind, added) {
      for (const receipt of added) await writeJson(storage, prefix(kind) + name(receipt.epoch), receipt)
      const names = (await storage.list(prefix(kind))).sort()
      for (const old of names.slice(0, Math.max(0, names.length - MAX_RECEIPTS)))
        await storage.delete(prefix(kind) + old)
    },
    async clear(kind) {
      for (const each of await storage.list(prefix(kind))) await storage.delete(prefix(kind) + each)
    },
  }
  return receipts
}

/**
 * The promotion that left the history of a log whose head is in `epoch`: the first of a later epoch. Undefined when there was none,
 * or it is not known any more.
 */
export function departure(receipts: readonly PromotionReceipt[], epoch: number): PromotionReceipt | undefined {
  let first: PromotionReceipt | undefined
  for (const receipt of receipts) {
    if (receipt.epoch > epoch && (first === undefined || receipt.epoch < first.epoch)) first = receipt
  }
  return first?.from != null && first.from.epoch <= epoch ? first : undefined
}

/**
 * Whether both know the same cluster to have begun the epoch. Two that were promoted by force from one epoch begin the same number, and
 * places in the one's log mean nothing in the other's.
 */
export function sameReign(
  ours: readonly PromotionReceipt[],
  theirs: readonly PromotionReceipt[],
  epoch: number,
): boolean {
  const [our, their] = [ours, theirs].map((receipts) => receipts.find((receipt) => receipt.epoch === epoch))
  if (our === undefined || their === undefined) return our === their
  const [from, other] = [our.from, their.from]
  return our.at === their.at && from?.index === other?.index && from?.digest === other?.digest
}

/** As `GET sys/replication/:kind/promotion-receipts/:epoch` shows it. */
export function shownReceipt(receipt: PromotionReceipt): Record<string, unknown> {
  const { token, accessor, remoteAddress } = receipt.by
  return {
    epoch: receipt.epoch,
    cluster_id: receipt.clusterId,
    time: rfc3339(receipt.at),
    promoted_by: { token, accessor, remote_address: remoteAddress },
    from: receipt.from,
    last_heard_index: receipt.lastHeardIndex,
    last_heartbeat: rfc3339(receipt.lastHeartbeat),
    handed_over: receipt.handedOver,
    forced: receipt.forced,
    reasons: receipt.reasons,
    inherited: receipt.inherited,
  }
}

/** Undefined for what is not the JSON text of a receipt; other fields than those of one are dropped. */
export function parseReceipt(text: string): PromotionReceipt | undefined {
  let value: Record<string, unknown>
  try {
    value = (JSON.parse(text) ?? {}) as Record<string, unknown>
  } catch {
    return undefined
  }
  const { kind, epoch, clusterId, at, by, from, lastHeardIndex, lastHeartbeat, handedOver, forced, reasons } = value
  if (kind !== 'performance' && kind !== 'dr') return undefined
  if (!isCount(epoch) || !isText(clusterId) || !isCount(at) || !isCount(lastHeartbeat)) return undefined
  if (lastHeardIndex !== null && !isCount(lastHeardIndex)) return undefined
  const place = from === null ? null : parseCursor(from)
  const { token, accessor, remoteAddress } = (by ?? {}) as Record<string, unknown>
  if (place === undefined || !isText(token) || !isText(accessor) || !isText(remoteAddress)) return undefined
  if (!Array.isArray(reasons) || reasons.length > 16 || !reasons.every(isText)) return undefined
  return {
    ...{ kind, epoch, clusterId, at, lastHeardIndex, lastHeartbeat, reasons, from: place },
    by: { token, accessor, remoteAddress },
    handedOver: handedOver === true,
    forced: forced === true,
    inherited: false,
  }
}

function parseCursor(value: unknown): CursorRecord | undefined {
  const { epoch, index, digest } = (value ?? {}) as Record<string, unknown>
  if (!isCount(epoch) || !isCount(index) || typeof digest !== 'string' || !/^[0-9a-f]{64}$/.test(digest))
    return undefined
  return { epoch, index, digest }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= 1024
}
