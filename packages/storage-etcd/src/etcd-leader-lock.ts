import { setTimeout as sleep } from 'node:timers/promises'
import { type LeaderLock, type Leadership, StorageError } from '@lockstep/storage'
import { type EtcdConnection, parsePrefix } from './connection.ts'
import { EtcdClient } from './etcd-client.ts'
import { etcdError } from './etcd-error.ts'
import { registerFence } from './fence.ts'
import type { Compare } from './messages.ts'

/** How long a waiting node trusts a watch before it looks for itself, milliseconds. */
const LOOK_AGAIN_MS = 2000

export interface EtcdLeaderLockOptions extends EtcdConnection {
  /** As of `etcdStore`. Default "/lockstep/". */
  prefix?: string
  /** Tells apart several locks of one prefix. Default "leader". */
  name?: string
  /**
   * How long after its last sign of life a leader holds the lock, milliseconds; whole seconds, rounded up. etcd grants
   * no less than one and a half times its election timeout. Default 2000.
   */
  ttl?: number
}

export interface EtcdLeaderLock extends LeaderLock {
  /** Closes the connection. A leadership it gave ends. */
  close(): Promise<void>
}

/**
 * A lock that is a key with a lease: there is at most one, and it goes when the lease does. `acquire` rejects with
 * `STORAGE_UNAVAILABLE` when etcd cannot be reached; call it again. Standbys take over at once when the leader releases,
 * and when `ttl` has passed without a sign of life of it.
 */
export function etcdLeaderLock(options: EtcdLeaderLockOptions): EtcdLeaderLock {
  return new LeaseLock(options)
}

class LeaseLock implements EtcdLeaderLock {
  readonly #client: EtcdClient
  readonly #key: Buffer
  readonly #ttlSeconds: number
  readonly #held = new Set<LeaseLeadership>()
  #closed = false

  constructor(options: EtcdLeaderLockOptions) {
    const { prefix, name = 'leader', ttl = 2000 } = options
    if (!/^[A-Za-z0-9_.-]{1,64}$/.test(name))
      throw new TypeError('expected a name of letters, digits, "_", "." and "-"')
    if (!(ttl > 0 && ttl <= 3_600_000)) throw new TypeError('expected a ttl of at most an hour, in milliseconds')
    this.#ttlSeconds = Math.ceil(ttl / 1000)
    this.#key = Buffer.from(`${parsePrefix(prefix)}lock/${name}`)
    this.#client = new EtcdClient(options)
  }

  async acquire(signal?: AbortSignal): Promise<Leadership> {
    try {
      for (;;) {
        signal?.throwIfAborted()
        const { revision, entries } = await this.#client.range({ key: this.#key, keysOnly: true })
        if (entries.length > 0) await this.#untilFree(revision + 1, signal)
        else {
          const leadership = await this.#try(signal)
          if (leadership) return leadership
        }
      }
    } catch (error) {
      signal?.throwIfAborted()
      throw etcdError(error)
    }
  }

  async holder(): Promise<string | undefined> {
    try {
      const { entries } = await this.#client.range({ key: this.#key })
      const value = entries[0]?.value
      // Empty until the leader publishes; then it follows a "=".
      return value === undefined || value.byteLength === 0 ? undefined : value.subarray(1).toString()
    } catch (error) {
      throw etcdError(error)
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await Promise.all([...this.#held].map((leadership) => leadership.release()))
    this.#client.close()
  }

  /** Undefined when another node was quicker. */
  async #try(signal: AbortSignal | undefined): Promise<Leadership | undefined> {
    const asked = performance.now()
    const { id, ttl } = await this.#client.grantLease(this.#ttlSeconds)
    try {
      const { succeeded, revision } = await this.#client.txn(
        {
          compare: [{ key: this.#key, result: 'equal', target: 'create', value: 0 }],
          success: [{ type: 'put', key: this.#key, parts: [], lease: id }],
          failure: [],
        },
        { repeatable: false },
      )
      signal?.throwIfAborted()
      if (succeeded) {
        const leadership = new LeaseLeadership(this.#client, this.#key, revision, { id, ttl, asked })
        this.#held.add(leadership)
        void leadership.lost.then(() => this.#held.delete(leadership))
        return leadership
      }
    } catch (error) {
      await this.#client.revokeLease(id).catch(() => {})
      throw error
    }
    await this.#client.revokeLease(id).catch(() => {})
    return undefined
  }

  /** Returns early at times, for nothing. */
  async #untilFree(startRevision: number, signal: AbortSignal | undefined): Promise<void> {
    const enough = new AbortController()
    const stop = () => enough.abort()
    signal?.addEventListener('abort', stop, { once: true })
    try {
      const freed = this.#client.watch(this.#key, startRevision, enough.signal, ({ canceled, events }) => {
        if (canceled || events.some(({ type }) => type === 'delete')) stop()
      })
      freed.catch(() => {})
      await Promise.race([
        // A watch that breaks off at once must not make this a busy loop.
        freed.catch(() => {}).then(() => enough.signal.aborted || sleep(100, undefined, { signal: enough.signal })),
        sleep(LOOK_AGAIN_MS, undefined, { signal: enough.signal }),
      ]).catch(() => {})
    } finally {
      enough.abort()
      signal?.removeEventListener('abort', stop)
    }
  }
}

interface HeldLease {
  readonly id: bigint
  /** Seconds. */
  readonly ttl: number
  /** When the lease was asked for, on the clock of `performance.now`. */
  readonly asked: number
}

class LeaseLeadership implements Leadership {
  readonly fencingToken: bigint
  readonly lost: Promise<void>
  readonly #client: EtcdClient
  readonly #key: Buffer
  readonly #lease: HeldLease
  readonly #compare: readonly Compare[]
  /** When etcd may let the lease go, on the clock of `performance.now`. */
  #deadline: number
  #timer: NodeJS.Timeout | undefined
  #ended = false
  #revoked: Promise<void> | undefined
  #resolveLost!: () => void

  constructor(client: EtcdClient, key: Buffer, revision: number, lease: HeldLease) {
    this.fencingToken = BigInt(revision)
    this.#client = client
    this.#key = key
    this.#lease = lease
    this.#deadline = lease.asked + lease.ttl * 1000
    // The revision alone would do, if etcd's revisions never went back; after a restored snapshot they do.
    this.#compare = [
      { key, result: 'equal', target: 'create', value: revision },
      { key, result: 'equal', target: 'lease', value: lease.id },
    ]
    this.lost = new Promise((resolve) => {
      this.#resolveLost = resolve
    })
    registerFence(this, {
      key,
      compare: this.#compare,
      isLost: () => this.#isLost(),
      refused: () => this.#end(),
    })
    this.#later()
  }

  async publish(value: string): Promise<void> {
    if (this.#isLost()) throw notHeld()
    try {
      const put = { type: 'put', key: this.#key, parts: [Buffer.from(`=${value}`)], lease: this.#lease.id } as const
      const { succeeded } = await this.#client.txn({ compare: this.#compare, success: [put], failure: [] })
      if (succeeded) return
    } catch (error) {
      throw etcdError(error)
    }
    this.#end()
    throw notHeld()
  }

  async release(): Promise<void> {
    this.#end()
    await this.#revoked
  }

  #isLost(): boolean {
    if (!this.#ended && performance.now() >= this.#deadline) this.#end()
    return this.#ended
  }

  #later(): void {
    const interval = (this.#lease.ttl * 1000) / 4
    const untilDeadline = Math.max(0, this.#deadline - performance.now())
    this.#timer = setTimeout(() => void this.#keepAlive(), Math.min(interval, untilDeadline)).unref()
  }

  async #keepAlive(): Promise<void> {
    if (this.#isLost()) return
    const asked = performance.now()
    const left = this.#deadline - asked
    // Ends the leadership in time even when neither an answer nor an error comes.
    const end = setTimeout(() => this.#isLost(), left + 1).unref()
    try {
      // All the time there is: an endpoint that is silent gets half of it, and the next ones the rest.
      const ttl = await this.#client.keepLeaseAlive(this.#lease.id, left)
      if (ttl <= 0) return this.#end()
      this.#deadline = asked + ttl * 1000
    } catch {
      // Tried again, until the deadline.
    } finally {
      clearTimeout(end)
    }
    if (!this.#isLost()) this.#later()
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.#timer)
    this.#resolveLost()
    // When it does not reach etcd, the lease runs out.
    this.#revoked = this.#client.revokeLease(this.#lease.id).catch(() => {})
  }
}

function notHeld(): StorageError {
  return new StorageError('STORAGE_NOT_LEADER', 'the leadership has ended')
}
