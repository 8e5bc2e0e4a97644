/** Before another primary's state replaces it: what this cluster holds and that primary never got. */
import { decodePosition } from '@lockstep/replication'
import { type LoggedStore, recordsAfter } from '@lockstep/replication-driver'
import type { Clock, Log } from '../../contracts.ts'
import { cursorOf } from '../promotion/cursor-record.ts'
import { departure, type PromotionReceipt, sameReign } from '../promotion/receipts.ts'
import { demotedAt, type ReplicationKind, roleKeys, type SecondaryRecord } from '../role-records.ts'
import type { Unreplicated, UnreplicatedSet } from './unreplicated.ts'

export interface KeepUnreplicatedComponents {
  unreplicated: Pick<Unreplicated, 'capture' | 'begin' | 'list'>
  logged: Pick<LoggedStore, 'log' | 'get'>
  clock: Clock
  log: Pick<Log, 'warn'>
}

/**
 * The log of a former primary tells it record by record; when it cannot, what the first comparison replaces is to be kept. The set
 * exists once its header is stored; undefined when there is nothing to keep. `known` are the promotions this cluster knew of, `promotions`
 * those that its new primary tells of.
 */
export async function keepUnreplicated(
  components: KeepUnreplicatedComponents,
  kind: ReplicationKind,
  record: SecondaryRecord,
  { known, promotions }: { known: readonly PromotionReceipt[]; promotions: readonly PromotionReceipt[] },
): Promise<UnreplicatedSet | undefined> {
  const { unreplicated, logged, clock, log } = components
  const now = clock.now()
  const led = demotedAt(record)
  if (led !== undefined) {
    const receipt = departure(promotions, led.epoch)
    const found = receipt?.from ? await recordsAfter(logged.log, cursorOf(receipt.from)) : 'unknown'
    const newest = promotions.reduce((epoch, promotion) => Math.max(epoch, promotion.epoch), led.epoch)
    const id = `${receipt?.epoch ?? newest}-${led.index}`
    if (typeof found === 'object') return unreplicated.capture(kind, id, found, now)
    log.warn("this cluster's log cannot tell which of its writes were never replicated", { kind, reason: found })
    return unreplicated.begin(kind, id, now)
  }
  // A secondary may have come further than the one that was promoted.
  const stored = await logged.get(roleKeys.cursor(kind))
  const position = stored && decodePosition(stored)
  // One that never was in sync has nothing whole.
  if (position === undefined || position.view === '') return undefined
  const { cursor } = position
  const epoch = cursor?.epoch ?? position.epoch
  const same = sameReign(known, promotions, epoch)
  const newest = promotions.reduce((last, promotion) => Math.max(last, promotion.epoch), epoch)
  if (same && newest === epoch) return undefined
  const from = departure(promotions, epoch)?.from
  if (same && cursor && from?.epoch === epoch && from.index >= cursor.index) return undefined
  const sets = await unreplicated.list(kind)
  // What another change of the primary has begun takes this in too.
  if (sets.some(({ open }) => open)) return undefined
  const first = same ? promotions.find((promotion) => promotion.epoch > epoch)! : undefined
  const id = `${first?.epoch ?? newest}-${cursor?.index ?? `sync-${now}`}-followed`
  return unreplicated.begin(kind, sets.some((set) => set.id === id) ? `${id}-${now}` : id, now)
}
