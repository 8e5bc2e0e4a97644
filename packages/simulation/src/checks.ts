/** The invariants that are looked at while things happen. Truth is what the disks hold, not what the code under test says of it. */
import type { Cursor, LinkKind, Message } from '@lockstep/replication'
import type { Cluster } from './cluster.ts'
import type { Kernel } from './kernel.ts'
import { filterAllows, mayTravel, mountOf } from './keys.ts'
import type { LinkPair } from './network.ts'
import type { Batch } from './shadow.ts'

export interface Checks {
  onSend(link: LinkPair, from: string, message: Message): void
  onDurable(cluster: Cluster, batch: Batch): void
  onViewChanged(primary: Cluster, mount: string | undefined, id: string | undefined): void
  /** The cluster has a new disk: it stands nowhere, and nothing that was in its log is known any more. */
  forget(name: string): void
  /** Every key of a secondary against its primary's history. */
  wholeState(cluster: Cluster): void
  /** Guards may differ: something stored was destroyed. */
  excuse(name: string): void
  /** The cluster in whose log the position is. */
  sourceOf(cursor: Cursor): Cluster | undefined
  /** From now on nothing is taken for a change on its way: all had the time it needed. */
  settle(): void
  /** What a client reads on a secondary after it has waited for the index of its write. */
  readYourWrite(read: {
    secondary: Cluster
    kind: LinkKind
    primary: Cluster
    key: string
    index: number
    found: string | undefined
  }): void
  /** A retained position that the log must reach back to. */
  retention(primary: Cluster, logBytes: number): void
  readonly diffs: number
  diffsOf(name: string): number
}

type EntryGroup = Extract<Message, { type: 'entries' }>['group']

/** What is known of one secondary's agreement with its primary. */
interface Track {
  /** Entries may show states of the primary up to this index, as a diff reads them live. */
  looseUntil: number
  /** Mounts whose place relative to the filter changed since the last diff, by the time of the change; `*` for the filter itself. */
  dirty: Map<string, number>
  round: number
  roundBegan: number
  epoch: number
  diffs: number
  acknowledged: { primary: string; index: number } | undefined
  excused: boolean
}

/** A log no scenario fills. */
const AMPLE_LOG_BYTES = 1024 * 1024

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

export function checks(
  kernel: Kernel,
  clusters: ReadonlyMap<string, Cluster>,
  find: (name: string) => Cluster,
): Checks {
  const tracks = new Map<string, Track>()
  /** Places in logs whose disk is gone. */
  const retired = new Set<string>()
  let clock = 0
  let diffs = 0

  const track = (name: string): Track => {
    let found = tracks.get(name)
    if (found === undefined) {
      found = {
        looseUntil: -1,
        dirty: new Map(),
        round: 0,
        roundBegan: 0,
        epoch: 0,
        diffs: 0,
        acknowledged: undefined,
        excused: false,
      }
      tracks.set(name, found)
    }
    return found
  }

  const sourceOf = ({ index, digest }: Cursor): Cluster | undefined => {
    const wanted = hex(digest)
    for (const cluster of clusters.values()) if (cluster.shadow.digestAt(index) === wanted) return cluster
    return undefined
  }

  // -------------------------------------------------------------------- wire

  const checkGroup = (primary: Cluster, secondary: string, kind: LinkKind, group: EntryGroup): void => {
    for (const key of group.keys) {
      if (!mayTravel(kind, key)) kernel.fail('class', `${primary.name} sent ${key} to ${secondary} (${kind})`)
      const mount = mountOf(key)
      if (kind !== 'performance' || mount === undefined) continue
      const path = primary.liveMounts.has(mount) ? primary.mounts.get(mount)?.path : group.mountPath
      if (filterAllows(primary.filters.get(secondary), path)) continue
      kernel.fail('filter', `${primary.name} sent ${key} of ${path} to ${secondary}`)
    }
  }

  const checkPartition = (primary: Cluster, secondary: string, kind: LinkKind, partition: string): void => {
    const [keyClass, mount] = partition.split('/')
    if (kind !== 'performance') return
    if (keyClass !== 'replicated') kernel.fail('class', `${primary.name} showed ${partition} to ${secondary}`)
    if (mount === 'core' || !primary.liveMounts.has(mount!)) return
    const path = primary.mounts.get(mount!)?.path
    if (filterAllows(primary.filters.get(secondary), path)) return
    kernel.fail('filter', `${primary.name} showed ${partition} at ${path} to ${secondary}`)
  }

  const fromPrimary = (link: LinkPair, message: Message): void => {
    const [secondary, primaryName] = link.names
    const primary = find(primaryName)
    const kind = link.kind as LinkKind
    const state = track(secondary)
    switch (message.type) {
      case 'welcome':
        // What an earlier link still fetched was read by now.
        if (message.mode === 'stream') state.looseUntil = Math.min(state.looseUntil, primary.shadow.index)
        kernel.trace(`${secondary}<${primaryName} welcome ${message.mode} ${message.reason}`)
        break
      case 'wal':
        for (const group of message.groups) checkGroup(primary, secondary, kind, group)
        if (message.cursor.index > primary.shadow.index) {
          kernel.fail('durable before sent', `${primaryName} sent ${message.cursor.index} of ${primary.shadow.index}`)
        }
        break
      case 'entries':
        checkGroup(primary, secondary, kind, message.group)
        break
      case 'roots':
        for (const { partition } of message.items) checkPartition(primary, secondary, kind, partition)
        break
      case 'diff-begin':
        diffs++
        state.diffs++
        state.looseUntil = Number.POSITIVE_INFINITY
        state.round = message.round
        state.roundBegan = clock
        kernel.trace(
          `${secondary}<${primaryName} diff-begin ${message.round} at ${message.from.index}: ${message.reason}`,
        )
        break
      case 'refuse':
        kernel.trace(`${secondary}<${primaryName} refuse ${message.code} ${message.message}`)
        break
    }
  }

  const fromSecondary = (link: LinkPair, message: Message): void => {
    const [secondary, primaryName] = link.names
    const state = track(secondary)
    switch (message.type) {
      case 'synced':
        kernel.trace(`${secondary}>${primaryName} synced ${message.round}`)
        // Of a round that another has replaced.
        if (message.round !== state.round) break
        state.looseUntil = find(primaryName).shadow.index
        for (const [mount, at] of state.dirty) if (at <= state.roundBegan) state.dirty.delete(mount)
        state.acknowledged = undefined
        state.excused = false
        break
      case 'hello':
        // It may have stored more than it ever acknowledged.
        state.acknowledged = message.cursor ? { primary: primaryName, index: message.cursor.index } : undefined
        break
      case 'ack': {
        const stored = find(secondary).shadow.position(link.kind as LinkKind)?.cursor
        if (!stored || stored.index < message.cursor.index) {
          kernel.fail(
            'durable before acknowledged',
            `${secondary} acknowledged ${message.cursor.index}, stored ${stored?.index}`,
          )
        }
        state.acknowledged = { primary: primaryName, index: message.cursor.index }
        break
      }
      case 'diff-request':
        kernel.trace(`${secondary}>${primaryName} diff-request ${message.reason}`)
        if (/differs|differed/.test(message.reason) && state.dirty.size === 0 && !state.excused && !link.damaged) {
          kernel.fail('silent divergence', `${secondary} of ${primaryName}: ${message.reason}`)
        }
        break
      case 'refuse':
        kernel.trace(`${secondary}>${primaryName} refuse ${message.code} ${message.message}`)
        if ((message.code === 'not-accepted' || message.code === 'protocol') && !link.damaged) {
          kernel.fail('protocol', `${secondary} refused ${primaryName}: ${message.message}`)
        }
        break
    }
  }

  // ------------------------------------------------------------------- state

  const checkKeys = (cluster: Cluster, kind: LinkKind, keys: Iterable<string> | undefined): void => {
    const cursor = cluster.shadow.position(kind)?.cursor
    const state = track(cluster.name)
    if (!cursor || state.looseUntil === Number.POSITIVE_INFINITY) return
    const source = sourceOf(cursor)
    if (source === undefined) return
    const { dirty, looseUntil } = state
    const check = (key: string): void => {
      if (!mayTravel(kind, key)) return
      const found = cluster.shadow.values.get(key)
      if (kind === 'performance') {
        const mount = mountOf(key)
        if (dirty.has('*') || (mount !== undefined && dirty.has(mount))) return
        if (mount !== undefined && !filterAllows(source.filters.get(cluster.name), source.mounts.get(mount)?.path)) {
          if (found !== undefined) kernel.fail('withheld', `${cluster.name} holds ${key}`)
          return
        }
      }
      const expected = source.shadow.at(key, cursor.index)
      if (found === expected) return
      for (const { index, value } of source.shadow.versions(key)) {
        if (index > cursor.index && index <= looseUntil && value === found) return
      }
      kernel.fail(
        'state at index',
        `${cluster.name} at ${cursor.epoch}/${cursor.index} of ${source.name} has ${key}=${short(found)}, expected ${short(expected)}`,
      )
    }
    for (const key of keys ?? source.shadow.keys) check(key)
    if (keys === undefined) for (const key of cluster.shadow.values.keys()) check(key)
  }

  const kindOf = (cluster: Cluster): LinkKind | undefined => {
    if (cluster.shadow.position('dr') !== undefined) return 'dr'
    return cluster.shadow.position('performance') === undefined ? undefined : 'performance'
  }

  return {
    onSend(link, from, message) {
      if (from === link.names[1]) fromPrimary(link, message)
      else fromSecondary(link, message)
    },

    onDurable(cluster, batch) {
      for (const kind of batch.positions) {
        const position = cluster.shadow.position(kind)
        if (position === undefined) continue
        const state = track(cluster.name)
        if (position.epoch < state.epoch) {
          kernel.fail('epoch', `${cluster.name} went from epoch ${state.epoch} back to ${position.epoch}`)
        }
        state.epoch = position.epoch
        const { cursor } = position
        if (!cursor) continue
        if (sourceOf(cursor) === undefined && !retired.has(`${cursor.index}/${hex(cursor.digest)}`)) {
          kernel.fail('position', `${cluster.name} is at ${cursor.epoch}/${cursor.index}, which no log has come to`)
        }
        checkKeys(cluster, kind, batch.keys)
      }
    },

    onViewChanged(primary, mount, id) {
      clock++
      for (const name of id === undefined ? primary.filters.keys() : [id]) track(name).dirty.set(mount ?? '*', clock)
    },

    forget(name) {
      const { shadow } = find(name)
      for (let index = 0; index <= shadow.index; index++) {
        const digest = shadow.digestAt(index)
        if (digest !== undefined) retired.add(`${index}/${digest}`)
      }
      tracks.delete(name)
    },

    wholeState(cluster) {
      const kind = kindOf(cluster)
      if (kind !== undefined) checkKeys(cluster, kind, undefined)
    },

    excuse(name) {
      track(name).excused = true
    },

    settle() {
      for (const state of tracks.values()) state.dirty.clear()
    },

    readYourWrite({ secondary, kind, primary, key, index, found }) {
      const { dirty, looseUntil } = track(secondary.name)
      const cursor = secondary.shadow.position(kind)?.cursor
      if (!cursor || looseUntil === Number.POSITIVE_INFINITY || sourceOf(cursor) !== primary) return
      if (cursor.index < index) {
        return kernel.fail(
          'read your writes',
          `${secondary.name} says it has applied ${index}, it is at ${cursor.index}`,
        )
      }
      const mount = mountOf(key)
      if (!mayTravel(kind, key) || dirty.has('*') || (mount !== undefined && dirty.has(mount))) return
      if (kind === 'performance' && mount !== undefined) {
        if (!filterAllows(primary.filters.get(secondary.name), primary.mounts.get(mount)?.path)) return
      }
      if (found === primary.shadow.at(key, index)) return
      if (primary.shadow.versions(key).some((version) => version.index > index && version.value === found)) return
      kernel.fail(
        'read your writes',
        `${secondary.name} at ${cursor.index} after ${index}: ${key}=${short(found)}, ${primary.name} had ${short(primary.shadow.at(key, index))}, disk ${short(secondary.shadow.values.get(key))}`,
      )
    },

    retention(primary, logBytes) {
      const log = primary.node?.store.log
      // A small cap may have taken what a secondary still needs.
      if (log === undefined || logBytes < AMPLE_LOG_BYTES) return
      for (const { id, handle } of primary.node!.members.values()) {
        const acknowledged = track(id).acknowledged
        if (handle === undefined || acknowledged?.primary !== primary.name) continue
        if (handle.status().state !== 'stream-wals') continue
        if (log.oldest() > acknowledged.index + 1) {
          kernel.fail('retention', `${primary.name} keeps from ${log.oldest()}, ${id} is at ${acknowledged.index}`)
        }
      }
    },

    sourceOf,
    get diffs() {
      return diffs
    },
    diffsOf: (name) => track(name).diffs,
  }
}

function short(value: string | undefined): string {
  return value === undefined ? 'nothing' : value.slice(0, 12)
}
