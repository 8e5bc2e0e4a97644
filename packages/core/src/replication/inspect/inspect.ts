/**
 * What a secondary should hold set against what it says it holds, partition by partition, at one place in the log. Under writes the
 * two are asked for again; a partition that never stood still is marked as settling rather than called equal or different.
 */

import { type Cursor, type Plain, parsePartitionId } from '@lockstep/replication'
import { type FilteredView, filteredView, type LoggedStore } from '@lockstep/replication-driver'
import { CoreError } from '../../contracts.ts'
import { inKind } from '../in-kind.ts'
import type { FilterRecord, ReplicationKind } from '../role-records.ts'
import { type HeldPage, type HeldPartition, heldPage, INSPECT, parseHeldPage } from './inspect-held.ts'

/** More mounts than any cluster has. */
const MAX_PARTITIONS = 100_000
/** Rows in one answer over HTTP. */
export const MAX_ROWS = 10_000
const ATTEMPTS = 6
const PAGING_ATTEMPTS = 3
const FIRST_PAUSE_MS = 25
const ASK_TIMEOUT_MS = 10_000
/** Partitions that are followed write by write; more than these are hardly ever hot at once. */
const MAX_FOLLOWED = 64

export interface Side {
  keys: number
  /** 32 bytes, hex; all zero when there are no keys. */
  digest: string
}

export interface InspectedPartition {
  /** `secret/`, `auth/x/`; "" for the core and for a mount that is no longer known. */
  path: string
  /** "core" for the core. */
  uuid: string
  class: string
  withheld: boolean
  expected: Side
  /** Null when the secondary was not heard. */
  held: Side | null
  /** Null when the secondary was not heard, or while `settling`. */
  equal: boolean | null
  /** Writes went on between the two: neither equal nor different can be said. */
  settling: boolean
  /** Place in this log at which both sides were taken. */
  index: number
}

export interface Inspection {
  id: string
  kind: ReplicationKind
  connected: boolean
  /** Why the secondary was not heard, "" when it was. */
  error: string
  /** Whether the secondary was brought in line with the view now in force; null when it was not heard. */
  view_in_force: boolean | null
  /** Where the secondary stood in this log when it answered last; null during a sync. */
  cursor: { epoch: number; index: number } | null
  /** Every partition could be compared at one place in the log. */
  settled: boolean
  /** Settled, every partition equal and nothing held that should not be. */
  proven: boolean
  mounts: InspectedPartition[]
  /** What the secondary holds and should not. */
  unexpected: { path: string; uuid: string; class: string; keys: number; digest: string }[]
}

/** A secondary as the inspection sees it. */
export interface InspectedSecondary {
  id: string
  kind: ReplicationKind
  view: FilteredView
  /** Calls it over its link; rejects when there is none. */
  request(method: string, body: Plain, options: { timeoutMs: number }): Promise<Plain>
}

type Inspected = Pick<LoggedStore, 'forest' | 'log'>
type Heard = Pick<HeldPage, 'cursor' | 'view'> & { partitions: Map<string, HeldPartition> }

const NOTHING: Side = { keys: 0, digest: '00'.repeat(32) }

export async function inspectSecondary(
  store: Inspected,
  secondary: InspectedSecondary,
  pause: (ms: number) => Promise<void> = wait,
): Promise<Inspection> {
  const { id, kind, view } = secondary
  const rows = new Map<string, InspectedPartition>()
  const unexpected = new Map<string, Inspection['unexpected'][number]>()
  let heard: Heard | undefined
  let error = ''
  let linked = true

  const expectedOf = (partition: string): Side => (ships(view, partition) ? sideOf(store, partition) : NOTHING)
  const pending = (): string[] => [...rows.values()].filter(({ settling }) => settling).map(idOf)

  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const followed = attempt === 0 ? [] : pending()
    const record = recorder(store, followed.length > MAX_FOLLOWED ? [] : followed, expectedOf)
    try {
      heard = await askAll(secondary)
    } catch (reason) {
      error = (reason as Error).message
      linked = isLinked(reason)
      break
    } finally {
      record.stop()
    }
    compare(heard, record.at(heard.cursor))
    if (pending().length === 0) break
    await pause(FIRST_PAUSE_MS * 2 ** attempt)
  }
  if (heard === undefined) for (const partition of scope(store, kind)) addRow(partition, undefined, undefined)

  /** `moment` tells what was expected exactly where the secondary stood, when that is known. */
  function compare({ partitions }: Heard, moment: ((partition: string) => Side | undefined) | undefined): void {
    for (const partition of new Set([...scope(store, kind), ...partitions.keys()])) {
      const row = rows.get(partition)
      if (row === undefined || row.settling) addRow(partition, sideOfHeld(partitions.get(partition)), moment)
    }
    for (const [partition, row] of rows) {
      const held = partitions.get(partition)
      unexpected.delete(partition)
      if (held === undefined || row.equal !== false || row.expected.keys > 0) continue
      const { path, uuid, class: storageClass } = row
      unexpected.set(partition, { path, uuid, class: storageClass, ...sideOfHeld(held) })
    }
  }

  function addRow(
    partition: string,
    held: Side | undefined,
    moment: ((partition: string) => Side | undefined) | undefined,
  ): void {
    const exact = moment?.(partition)
    const expected = exact ?? expectedOf(partition)
    const same = held !== undefined && held.keys === expected.keys && held.digest === expected.digest
    const settling = held !== undefined && !same && exact === undefined
    const { class: storageClass, mount } = parsePartitionId(partition)!
    rows.set(partition, {
      path: view.mountPathOf(mount) ?? '',
      uuid: mount,
      class: storageClass,
      withheld: !ships(view, partition),
      expected,
      held: held ?? null,
      equal: held === undefined || settling ? null : same,
      settling,
      index: (exact !== undefined ? heard?.cursor?.index : undefined) ?? store.log.head().index,
    })
  }

  const mounts = [...rows.values()].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
  const settled = heard !== undefined && error === '' && heard.cursor !== null && pending().length === 0
  return {
    id,
    kind,
    connected: linked,
    error,
    view_in_force: heard === undefined ? null : heard.view === view.id,
    cursor: heard?.cursor ?? null,
    settled,
    proven: settled && unexpected.size === 0 && mounts.every(({ equal }) => equal === true),
    mounts,
    unexpected: [...unexpected.values()],
  }
}

/** What this secondary holds itself, for its own operators. */
export function inspectSelf(
  store: Inspected,
  kind: ReplicationKind,
  position: Parameters<typeof heldPage>[2],
  pathOf: (mount: string) => string | undefined,
) {
  const { cursor, partitions } = heldPage(store.forest, kind, position, { limit: MAX_PARTITIONS })
  const mounts = partitions.map((held) => {
    const { class: storageClass, mount } = parsePartitionId(held.id)!
    return { path: pathOf(mount) ?? '', uuid: mount, class: storageClass, ...sideOfHeld(held) }
  })
  return { cursor, mounts: mounts.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0)) }
}

export interface FilterPreview {
  purge: { path: string; uuid: string; keys: number }[]
  add: { path: string; uuid: string; keys: number }[]
  purge_keys: number
  add_keys: number
}

/** What a secondary would lose and get if `next` took the place of `current`. Throws `PathsFilterError`. */
export function previewFilter(
  { forest }: Pick<Inspected, 'forest'>,
  mountPathOf: (mount: string) => string | undefined,
  current: FilterRecord | undefined,
  next: FilterRecord | undefined,
): FilterPreview {
  const view = (filter: FilterRecord | undefined) => filteredView({ kind: 'performance', mountPathOf, filter })
  const [before, after] = [view(current), view(next)]
  const preview: FilterPreview = { purge: [], add: [], purge_keys: 0, add_keys: 0 }
  for (const partition of forest.partitions()) {
    const [ships_now, ships_then] = [ships(before, partition), ships(after, partition)]
    if (ships_now === ships_then) continue
    const { mount } = parsePartitionId(partition)!
    const item = { path: mountPathOf(mount) ?? '', uuid: mount, keys: forest.count(partition) }
    preview[ships_now ? 'purge' : 'add'].push(item)
    preview[ships_now ? 'purge_keys' : 'add_keys'] += item.keys
  }
  return preview
}

/** Pages until the end; over again when the secondary moved on between two of them. */
async function askAll(secondary: InspectedSecondary): Promise<Heard> {
  for (let attempt = 1; ; attempt++) {
    const partitions = new Map<string, HeldPartition>()
    let page: HeldPage | undefined
    let cursor: HeldPage['cursor'] | undefined
    let moved = false
    do {
      const after: string = page?.partitions.at(-1)?.id ?? ''
      page = parseHeldPage(await secondary.request(INSPECT, { after }, { timeoutMs: ASK_TIMEOUT_MS }), after)
      if (cursor === undefined) cursor = page.cursor
      else moved ||= page.cursor?.index !== cursor?.index || page.cursor?.epoch !== cursor?.epoch
      for (const held of page.partitions) partitions.set(held.id, held)
      if (partitions.size > MAX_PARTITIONS) {
        throw new CoreError('CORE_INVALID_REQUEST', `inspect: partitions: expected at most ${MAX_PARTITIONS}`)
      }
    } while (page.more)
    // Pages of several moments belong to no place in the log.
    if (!moved || attempt === PAGING_ATTEMPTS) return { cursor: moved ? null : cursor, view: page.view, partitions }
  }
}

/** Remembers what `followed` partitions should hold at each place in the log, from now until `stop`. */
function recorder(store: Inspected, followed: readonly string[], expectedOf: (partition: string) => Side) {
  const moments = new Map<number, Map<string, Side>>()
  const take = ({ index }: Pick<Cursor, 'index'>): void => {
    moments.set(index, new Map(followed.map((partition) => [partition, expectedOf(partition)])))
    // What the secondary answers cannot be older than its window.
    if (moments.size > 10_000) moments.delete(moments.keys().next().value!)
  }
  take(store.log.head())
  const stop = followed.length === 0 ? () => {} : store.log.onAppend(take)
  return {
    stop,
    at(cursor: HeldPage['cursor']): ((partition: string) => Side | undefined) | undefined {
      if (cursor === null) return undefined
      const head = store.log.head()
      if (cursor.index === head.index && cursor.epoch === head.epoch) return expectedOf
      const moment = moments.get(cursor.index)
      return moment && ((partition) => moment.get(partition))
    },
  }
}

function scope({ forest }: Pick<Inspected, 'forest'>, kind: ReplicationKind): string[] {
  return forest.partitions().filter((id) => inKind(kind, id))
}

function ships(view: FilteredView, id: string): boolean {
  const partition = parsePartitionId(id)
  return partition !== undefined && view.ships(partition, view.mountPathOf(partition.mount) ?? '')
}

function sideOf({ forest }: Pick<Inspected, 'forest'>, partition: string): Side {
  return { keys: forest.count(partition), digest: hex(forest.root(partition)) }
}

function sideOfHeld(held: HeldPartition | undefined): Side {
  return held === undefined ? NOTHING : { keys: held.keys, digest: hex(held.digest) }
}

/** Any answer, also one that says no or is malformed, came over a link; an older secondary does not know the question. */
function isLinked(error: unknown): boolean {
  const { code } = error as { code?: unknown }
  return code !== undefined && code !== 'REPLICATION_DISCONNECTED'
}

const idOf = ({ class: storageClass, uuid }: InspectedPartition): string => `${storageClass}/${uuid}`
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
