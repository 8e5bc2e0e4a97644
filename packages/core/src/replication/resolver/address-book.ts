/**
 * Where the nodes of a primary's cluster were and are. An address says nothing about trust: whoever answers there has to present a
 * certificate of the set's own authority, so a false one costs an attempt.
 */
import { parseAddress } from '@lockstep/replication-transport'

/** As stored. */
export interface AddressRecord {
  /** What the primary told last, its active node first. */
  told: string[]
  /** What it told before and tells no longer: a node that is down may lead again. */
  left: { address: string; at: number }[]
  /** Where the last link led; "" when there was none. */
  reached: string
  /** When another node of the primary's cluster took the lead, as far as it was told, ms since the epoch; 0 = never. */
  movedAt: number
}

/** More nodes than any cluster has. */
export const MAX_ADDRESSES = 64
/** Nodes that were told of before. How many are dialled still, and for how long after. */
const MAX_LEFT = 8
const KEPT_MS = 24 * 60 * 60 * 1000

export interface AddressBook {
  /** Every one known, those that the primary tells of first, its active node at their head. */
  all(): string[]
  /** The same with the one last reached first. */
  dialOrder(): string[]
  /** The active node's, as the primary told last; "" when it has told nothing. */
  active(): string
  movedAt(): number
  /** Whether it was news. */
  tell(addresses: readonly string[], now: number): boolean
  reach(address: string): boolean
  record(): AddressRecord
}

/** `given` are those of the activation, or an operator's: they stay. `now` in ms. */
export function addressBook(given: readonly string[], stored: AddressRecord | undefined): AddressBook {
  let told = dialable(stored?.told ?? [])
  let left = stored?.left ?? []
  let reached = stored?.reached ?? ''
  let movedAt = stored?.movedAt ?? 0

  const all = (): string[] => dialable([...told, ...given, ...left.map(({ address }) => address)])

  return {
    all,
    dialOrder() {
      const known = all()
      return known.includes(reached) ? [reached, ...known.filter((address) => address !== reached)] : known
    },
    active: () => told[0] ?? '',
    movedAt: () => movedAt,
    tell(addresses, now) {
      const next = dialable(addresses)
      // A primary that tells nothing has not moved.
      if (next.length === 0 || next.join() === told.join()) return false
      const gone = told.filter((address) => !next.includes(address)).map((address) => ({ address, at: now }))
      left = [...gone, ...left]
        .filter(({ address, at }) => !next.includes(address) && now - at < KEPT_MS)
        .slice(0, MAX_LEFT)
      if (told.length > 0 && next[0] !== told[0]) movedAt = now
      told = next
      return true
    },
    reach(address) {
      const news = address !== reached
      reached = address
      return news
    },
    record: () => ({ told, left, reached, movedAt }),
  }
}

/** Those that can be dialled at all, each once; what a primary tells of itself is not trusted to be well-formed. */
export function dialable(addresses: readonly string[]): string[] {
  return [...new Set(addresses)].filter(isAddress).slice(0, MAX_ADDRESSES)
}

export function isAddress(address: string): boolean {
  try {
    parseAddress(address)
    return true
  } catch {
    return false
  }
}

/** What was stored, also by versions that kept only what was told. */
export function readAddressRecord(stored: unknown): AddressRecord | undefined {
  if (Array.isArray(stored)) return { told: stored.filter(isText), left: [], reached: '', movedAt: 0 }
  if (typeof stored !== 'object' || stored === null) return undefined
  const { told, left, reached, movedAt } = stored as Partial<Record<keyof AddressRecord, unknown>>
  return {
    told: Array.isArray(told) ? told.filter(isText) : [],
    left: Array.isArray(left) ? left.filter(isLeft) : [],
    reached: isText(reached) ? reached : '',
    movedAt: typeof movedAt === 'number' ? movedAt : 0,
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isLeft(value: unknown): value is AddressRecord['left'][number] {
  const { address, at } = (value ?? {}) as { address?: unknown; at?: unknown }
  return isText(address) && typeof at === 'number'
}
