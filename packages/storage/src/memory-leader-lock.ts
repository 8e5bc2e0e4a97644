import { StorageError } from './errors.ts'
import type { LeaderLock, Leadership } from './leader-lock.ts'

export interface MemoryLeaderLock extends LeaderLock {
  /** Takes the leadership from its holder, as a failing storage would; the next waiter gets it. */
  revoke(): void
}

export interface MemoryLeaderLockOptions {
  /** The token of the next leader, greater than all before. Default: counts from 1. */
  nextToken?: () => Promise<bigint> | bigint
}

/** A leader lock between parts of one process; share the object between the would-be leaders. */
export function memoryLeaderLock(options: MemoryLeaderLockOptions = {}): MemoryLeaderLock {
  let count = 0n
  return new InProcessLock(options.nextToken ?? (() => ++count))
}

class InProcessLock implements MemoryLeaderLock {
  readonly #nextToken: () => Promise<bigint> | bigint
  readonly #waiting: (() => void)[] = []
  #held = false
  #leader: InProcessLeadership | undefined

  constructor(nextToken: () => Promise<bigint> | bigint) {
    this.#nextToken = nextToken
  }

  async acquire(signal?: AbortSignal): Promise<Leadership> {
    signal?.throwIfAborted()
    if (this.#held) await this.#turn(signal)
    this.#held = true
    try {
      const token = await this.#nextToken()
      this.#leader = new InProcessLeadership(token, (leader) => this.#end(leader))
      return this.#leader
    } catch (error) {
      this.#passOn()
      throw error
    }
  }

  async holder(): Promise<string | undefined> {
    return this.#leader?.published
  }

  revoke(): void {
    this.#leader?.end()
  }

  /** Resolves when the lock has been handed to this waiter. */
  #turn(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = () => {
        signal?.removeEventListener('abort', aborted)
        resolve()
      }
      const aborted = () => {
        this.#waiting.splice(this.#waiting.indexOf(turn), 1)
        reject(signal!.reason)
      }
      signal?.addEventListener('abort', aborted, { once: true })
      this.#waiting.push(turn)
    })
  }

  #end(leader: InProcessLeadership): void {
    if (this.#leader !== leader) return
    this.#leader = undefined
    this.#passOn()
  }

  #passOn(): void {
    const next = this.#waiting.shift()
    // The lock stays held on its way to the next waiter, so nobody can slip in between.
    if (next === undefined) this.#held = false
    else next()
  }
}

class InProcessLeadership implements Leadership {
  readonly fencingToken: bigint
  readonly lost: Promise<void>
  published: string | undefined
  readonly #onEnd: (leadership: InProcessLeadership) => void
  #resolveLost!: () => void
  #ended = false

  constructor(fencingToken: bigint, onEnd: (leadership: InProcessLeadership) => void) {
    this.fencingToken = fencingToken
    this.#onEnd = onEnd
    this.lost = new Promise((resolve) => {
      this.#resolveLost = resolve
    })
  }

  async publish(value: string): Promise<void> {
    if (this.#ended) throw new StorageError('STORAGE_NOT_LEADER', 'the leadership has ended')
    this.published = value
  }

  async release(): Promise<void> {
    this.end()
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#resolveLost()
    this.#onEnd(this)
  }
}
