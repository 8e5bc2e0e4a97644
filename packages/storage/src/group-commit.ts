import type { CommitHistory } from './commit-history.ts'
import type { CommitHooks, Engine, PendingCommit, WriteOperation } from './engine.ts'
import { StorageError } from './errors.ts'
import type { StoreLimits } from './store.ts'

/** Bytes after which a group takes no more commits. */
const MAX_GROUP_BYTES = 8 * 1024 * 1024
/** What an operation takes beside its key and value, about. */
const OPERATION_BYTES = 32

interface QueuedCommit extends PendingCommit {
  /** Says why the commit must not happen, given the keys changed by earlier commits of the group. Undefined: it may. */
  readonly validate: ((groupKeys: ReadonlySet<string>) => Error | undefined) | undefined
  readonly resolve: (() => void) | undefined
  readonly reject: ((error: unknown) => void) | undefined
}

/** Commits that become durable together. */
class Group {
  readonly commits: QueuedCommit[] = []
  bytes = 0
  /** Keys of the commits that passed validation; empty before. */
  readonly keys = new Set<string>()
  #blindOutcome: Promise<void> | undefined
  #settled: Promise<void> | undefined
  #resolveBlind: (() => void) | undefined
  #rejectBlind: ((error: unknown) => void) | undefined
  #resolveSettled: (() => void) | undefined

  /** The one promise of all commits that cannot conflict. */
  blindOutcome(): Promise<void> {
    this.#blindOutcome ??= new Promise((resolve, reject) => {
      this.#resolveBlind = resolve
      this.#rejectBlind = reject
    })
    return this.#blindOutcome
  }

  /** Resolves when the group is decided, either way. */
  settled(): Promise<void> {
    this.#settled ??= new Promise((resolve) => {
      this.#resolveSettled = resolve
    })
    return this.#settled
  }

  succeed(commits: readonly QueuedCommit[]): void {
    this.#resolveSettled?.()
    for (const commit of commits) commit.resolve?.()
    this.#resolveBlind?.()
  }

  fail(commits: readonly QueuedCommit[], error: unknown): void {
    this.#resolveSettled?.()
    for (const commit of commits) commit.reject?.(error)
    this.#rejectBlind?.(error)
  }
}

/** Gathers commits while a group is being written and writes them as the next group, one group at a time. */
export class GroupCommit {
  readonly #engine: Engine
  readonly #history: CommitHistory
  readonly #hooks: CommitHooks
  readonly #maxGroup: number
  readonly #nextTurn: (run: () => void) => void
  readonly #queue: Group[] = []
  #writing: Group | undefined
  #drained: Promise<void> | undefined
  #scheduled = false

  constructor(
    engine: Engine,
    history: CommitHistory,
    hooks: CommitHooks,
    maxGroup: number,
    nextTurn: (run: () => void) => void,
  ) {
    this.#engine = engine
    this.#history = history
    this.#hooks = hooks
    this.#maxGroup = maxGroup
    this.#nextTurn = nextTurn
  }

  /** Commits one write that read nothing. */
  write(operation: WriteOperation): Promise<void> {
    const operations = [operation]
    const bytes = bytesOf(operations)
    const problem = this.#tooLarge(operations, bytes)
    if (problem !== undefined) return Promise.reject(problem)
    const group = this.#openGroup(bytes)
    group.commits.push({ operations, validate: undefined, resolve: undefined, reject: undefined })
    group.bytes += bytes
    return group.blindOutcome()
  }

  commit(operations: WriteOperation[], validate: (groupKeys: ReadonlySet<string>) => Error | undefined): Promise<void> {
    const bytes = bytesOf(operations)
    const problem = this.#tooLarge(operations, bytes)
    if (problem !== undefined) {
      // Lets go of the snapshot; a conflict is no news any more.
      validate(new Set())
      return Promise.reject(problem)
    }
    const group = this.#openGroup(bytes)
    group.bytes += bytes
    return new Promise((resolve, reject) => {
      group.commits.push({ operations, validate, resolve, reject })
    })
  }

  /** Resolves once no group under way changes a matching key. Returns undefined when none does. */
  pending(matches: (key: string) => boolean): Promise<void> | undefined {
    if (this.#writing === undefined) return undefined
    for (const key of this.#writing.keys) if (matches(key)) return this.#writing.settled()
    return undefined
  }

  /** Like `pending` for one key. */
  pendingKey(key: string): Promise<void> | undefined {
    return this.#writing?.keys.has(key) ? this.#writing.settled() : undefined
  }

  /** Resolves when every commit queued so far is decided. */
  async drain(): Promise<void> {
    await this.#drained
  }

  /** Refused before it joins a group, which it would take with it. */
  #tooLarge(operations: readonly WriteOperation[], bytes: number): StorageError | undefined {
    const { limits } = this.#engine
    if (limits === undefined) return undefined
    for (const operation of operations) {
      if (operation.type === 'put' && operation.value.byteLength > limits.valueBytes) {
        const key = JSON.stringify(operation.key)
        return tooLarge(`a value of at most ${limits.valueBytes} bytes for key ${key}`, operation.value.byteLength)
      }
    }
    return bytes > limits.commitBytes ? tooLarge(`a commit of at most ${limits.commitBytes} bytes`, bytes) : undefined
  }

  #openGroup(bytes: number): Group {
    let group = this.#queue.at(-1)
    if (group === undefined || group.commits.length >= this.#maxGroup || isFull(group, bytes, this.#engine.limits)) {
      group = new Group()
      this.#queue.push(group)
    }
    if (!this.#scheduled) {
      this.#scheduled = true
      this.#drained = this.#run()
    }
    return group
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      // One turn of the event loop lets everything that is ready join: other requests of this turn, and
      // callers of the last group that go on with their next write.
      await new Promise<void>((resolve) => this.#nextTurn(resolve))
      const group = this.#queue.shift()!
      this.#writing = group
      await this.#commitGroup(group)
    }
    this.#scheduled = false
  }

  async #commitGroup(group: Group): Promise<void> {
    const accepted = validated(group)
    let sent = false
    try {
      if (accepted.length > 0) {
        const more = this.#hooks.prepareGroup?.(accepted)
        const operations = more === undefined ? [] : [...(more instanceof Promise ? await more : more)]
        for (const { key } of operations) group.keys.add(key)
        const own: WriteOperation[] = []
        for (const commit of accepted) {
          for (const operation of commit.operations) {
            own.push(operation)
            group.keys.add(operation.key)
          }
        }
        sent = true
        await this.#engine.write(operations.length === 0 ? own : own.concat(operations))
      }
    } catch (error) {
      this.#writing = undefined
      // It may be stored all the same, its answer lost: whoever has read these keys may have read what is there no more.
      if (sent) this.#history.record(group.keys)
      this.#hooks.failed?.(error)
      group.fail(accepted, error)
      return
    }
    this.#writing = undefined
    if (accepted.length === 0) return group.succeed(accepted)
    this.#history.record(group.keys)
    this.#hooks.committed?.(accepted)
    group.succeed(accepted)
  }
}

/** A commit that is too long for any group is one by itself. */
function isFull(group: Group, more: number, limits: StoreLimits | undefined): boolean {
  if (group.bytes >= MAX_GROUP_BYTES) return true
  return limits !== undefined && group.bytes > 0 && group.bytes + more > limits.groupBytes
}

function bytesOf(operations: readonly WriteOperation[]): number {
  let bytes = 0
  for (const operation of operations) {
    bytes += operation.key.length + OPERATION_BYTES
    if (operation.type === 'put') bytes += operation.value.byteLength
  }
  return bytes
}

function tooLarge(expected: string, found: number): StorageError {
  return new StorageError('STORAGE_TOO_LARGE', `expected ${expected}, found ${found}`)
}

/** Rejects the commits of the group that conflict and returns the others. */
function validated(group: Group): QueuedCommit[] {
  const accepted: QueuedCommit[] = []
  for (const commit of group.commits) {
    const conflict = commit.validate?.(group.keys)
    if (conflict !== undefined) {
      commit.reject?.(conflict)
      continue
    }
    accepted.push(commit)
    for (const { key } of commit.operations) group.keys.add(key)
  }
  return accepted
}
