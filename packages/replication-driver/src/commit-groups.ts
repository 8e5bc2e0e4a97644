/** The commit hooks of a logged store: plans each group, and makes memory follow the disk when the group is durable. */
import type { MerkleForest } from '@lockstep/replication'
import { sameDigest } from '@lockstep/replication'
import type { CommitHooks, Engine, PendingCommit, WriteOperation } from '@lockstep/storage'
import { type Change, type GroupPlan, type Leaf, type PlannerComponents, planGroup } from './commit-planner.ts'
import { LoggedStoreError } from './errors.ts'
import { exclusion } from './exclusion.ts'
import { decodeHead, HEAD } from './layout.ts'
import type { ReadCache } from './read-cache.ts'

export interface CommitGroups {
  readonly hooks: CommitHooks
  /** What goes to the disk with the group that was prepared last. */
  beside(): readonly WriteOperation[]
  /** Called with the leaves of each durable group, in the turn in which the forest follows them. Returns how to stop. */
  onLeaves(listener: (leaves: readonly Leaf[]) => void): () => void
  /** Runs the body while no group is under way and memory is what the disk says. */
  quietly<T>(body: () => Promise<T>): Promise<T>
}

export interface CommitGroupsComponents extends PlannerComponents {
  physical: Engine
  forest: MerkleForest
  cache: ReadCache
  /** Log rows that were given up because the log is not kept. */
  discard(range: { from: number; to: number }): void
  appended(): void
  changed(changes: readonly Change[]): void
}

const NOTHING: WriteOperation[] = []

export function commitGroups(components: CommitGroupsComponents): CommitGroups {
  const { physical, forest, log, cache } = components
  const turn = exclusion()
  /** The group that is being written. */
  let plan: GroupPlan | undefined
  /** A group whose write failed: whether it is on disk is seen before anything else is done. */
  let doubtful: GroupPlan | undefined

  const leafListeners = new Set<(leaves: readonly Leaf[]) => void>()

  const follow = (done: GroupPlan) => {
    for (const listener of leafListeners) listener(done.leaves)
    for (const { partition, keyId, digest } of done.leaves) {
      if (digest) forest.set(partition, keyId, digest)
      else forest.remove(partition, keyId)
    }
    const head = log.state.index
    const discarded = log.adopt(done.staged)
    if (discarded) components.discard(discarded)
    if (log.state.index !== head) components.appended()
  }

  const announce = (done: GroupPlan, head: number) => {
    components.changed(done.changes)
    if (log.state.index !== head) log.announce()
  }

  const resolveDoubt = async (): Promise<void> => {
    const failed = doubtful
    if (!failed) return
    const stored = await physical.get(HEAD)
    const found = stored && decodeHead(stored)
    const isAt = (state: { index: number; digest: Uint8Array }) =>
      found !== undefined && found.index === state.index && sameDigest(found.digest, state.digest)
    if (isAt(log.state)) {
      doubtful = undefined
    } else if (isAt(failed.staged.state)) {
      doubtful = undefined
      const head = log.state.index
      follow(failed)
      announce(failed, head)
    } else {
      throw new LoggedStoreError('REPLICATION_FENCED', 'another process has written to this store')
    }
  }

  const prepare = (commits: readonly PendingCommit[]): WriteOperation[] => {
    plan = planGroup(commits, components)
    return NOTHING
  }

  const prepareInTurn = async (entered: Promise<void> | undefined, commits: readonly PendingCommit[]) => {
    await entered
    try {
      await resolveDoubt()
      return prepare(commits)
    } catch (error) {
      turn.leave()
      throw error
    }
  }

  return {
    hooks: {
      prepareGroup(commits) {
        const entered = turn.enter()
        if (entered || doubtful) return prepareInTurn(entered, commits)
        try {
          return prepare(commits)
        } catch (error) {
          turn.leave()
          throw error
        }
      },
      committed(commits) {
        const done = plan!
        plan = undefined
        for (const { operations } of commits) {
          for (const operation of operations) {
            cache.written(operation.key, operation.type === 'put' ? operation.value : undefined)
          }
        }
        const head = log.state.index
        follow(done)
        turn.leave()
        announce(done, head)
      },
      failed() {
        // Without a plan it was `prepareGroup` that failed, and the turn has been left already.
        if (!plan) return
        doubtful = plan
        plan = undefined
        for (const { keys } of doubtful.changes) for (const key of keys) cache.forget(key)
        turn.leave()
        // Reads show what the disk holds, so forest and head must soon. If that cannot be seen now, the next commit tries again.
        turn.run(resolveDoubt).catch(() => {})
      },
    },
    onLeaves(listener) {
      leafListeners.add(listener)
      return () => leafListeners.delete(listener)
    },
    beside: () => plan?.writes ?? NOTHING,
    quietly: (body) =>
      turn.run(async () => {
        await resolveDoubt()
        return body()
      }),
  }
}
