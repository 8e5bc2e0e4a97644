import { StorageError, type WriteOperation } from '@lockstep/storage'
import { type CommitPlan, MAX_TXN_OPERATIONS, nest, planCommit } from './commit-plan.ts'
import { type EtcdClient, LONGEST_ANSWER } from './etcd-client.ts'
import { EtcdCallError, etcdError, isTransient, wasNotCarriedOut } from './etcd-error.ts'
import { type Fence, notLeader } from './fence.ts'
import { type Keyspace, readStored } from './keyspace.ts'
import { type Compare, encodeTxn, type RangeResponse, type TxnOperation, type TxnResponse } from './messages.ts'

const FORMAT = '1'
/** For headers, comparisons and what etcd adds to a request before it logs it. */
const REQUEST_OVERHEAD = 64 * 1024
const ATTEMPTS = 32
const PAGE = 1000

/** Comparisons of what a transaction has read; half of what etcd takes, or there is no room for nested Txns. */
export const MAX_READ_COMPARES = MAX_TXN_OPERATIONS / 2 - 8

interface PartsOfKey {
  ids: Buffer[]
  /** Of the commit that this was learned from. */
  revision: number
}

export interface CommitterOptions {
  fence: Fence | undefined
  maxRequestBytes: number
}

/**
 * Commits of one store, each one Txn. Every Txn compares the epoch, which is the mod revision of the format key: whoever
 * needs that Txns built before now are never carried out puts that key again. Three do: a store that opens or has lost
 * an answer (a Txn may still be in etcd's queue when its client has given up), and a commit with values in parts (all
 * stores must know which keys have such).
 */
export class Committer {
  readonly #client: EtcdClient
  readonly #keys: Keyspace
  readonly #fence: Fence | undefined
  readonly #maxRequestBytes: number
  #epoch = 0
  #parts = new Map<string, PartsOfKey>()
  /** An answer was lost. */
  #doubt = true
  #settling: Promise<void> | undefined
  #refreshing: Promise<void> | undefined

  constructor(client: EtcdClient, keys: Keyspace, { fence, maxRequestBytes }: CommitterOptions) {
    this.#client = client
    this.#keys = keys
    this.#fence = fence
    // What is written must be read again, an entry at a time.
    this.#maxRequestBytes = Math.min(maxRequestBytes, LONGEST_ANSWER)
  }

  /** Bytes of keys and values that one request takes. */
  get room(): number {
    return this.#maxRequestBytes - REQUEST_OVERHEAD
  }

  async open(): Promise<void> {
    const { epoch } = this.#keys
    const { succeeded, ranges } = await this.#client.txn({
      compare: [...this.#fenced(), { key: epoch, result: 'equal', target: 'create', value: 0 }],
      success: [putFormat(epoch)],
      failure: [{ type: 'range', range: { key: epoch } }, ...this.#readFence()],
    })
    if (!succeeded) {
      this.#checkFence(ranges[1])
      const format = ranges[0]?.entries[0]?.value.toString()
      if (format !== undefined) checkFormat(format, epoch)
    }
    await this.settled()
    await this.#sweep()
  }

  /** Resolves when no commit that failed can still come true. Reads before would not tell whether it did. */
  settled(): Promise<void> {
    if (!this.#doubt) return Promise.resolve()
    this.#settling ??= this.#settle().finally(() => {
      this.#settling = undefined
    })
    return this.#settling
  }

  /** Rejects with `STORAGE_CONFLICT` when one of `reads` does not hold. */
  async commit(writes: readonly WriteOperation[], reads: readonly Compare[] = []): Promise<void> {
    const comparesBytes = reads.reduce((sum, { key, end }) => sum + key.byteLength + (end?.byteLength ?? 0) + 32, 0)
    for (let attempt = 1; ; attempt++) {
      await this.settled()
      if (this.#fence?.isLost()) throw notLeader()
      const epoch = this.#epoch
      const plan = planCommit(writes, this.#keys, this.#parts, this.room - comparesBytes)
      await this.#putAhead(plan)
      const answer = await this.#send(plan, epoch, reads)
      if (answer.succeeded) return this.#committed(writes, plan, answer.revision)
      this.#checkFence(answer.ranges[1])
      const stored = answer.ranges[0]?.entries[0]
      if (stored?.modRevision === epoch) throw conflict()
      if (stored === undefined) throw damaged(this.#keys.epoch)
      checkFormat(stored.value.toString(), this.#keys.epoch)
      if (attempt >= ATTEMPTS) throw etcdError(new Error('other processes keep this store from committing'))
      await this.#refresh(epoch)
    }
  }

  async #send(plan: CommitPlan, epoch: number, reads: readonly Compare[]): Promise<TxnResponse> {
    const { epoch: key } = this.#keys
    const compare: Compare[] = [...this.#fenced(), { key, result: 'equal', target: 'modify', value: epoch }, ...reads]
    const success = nest(plan.operations, 1)
    if (plan.ahead.length > 0) success.push(putFormat(key))
    const failure: TxnOperation[] = [{ type: 'range', range: { key } }, ...this.#readFence()]
    const request = encodeTxn({ compare, success, failure }, plan.bytes + REQUEST_OVERHEAD / 16)
    try {
      return await this.#client.txn(request, { repeatable: false })
    } catch (error) {
      if (error instanceof EtcdCallError && isTransient(error) && !wasNotCarriedOut(error)) this.#doubt = true
      throw etcdError(error)
    }
  }

  /** Values in parts are written before the Txn that makes them count. */
  async #putAhead({ ahead }: CommitPlan): Promise<void> {
    let batch: TxnOperation[] = []
    let bytes = 0
    const flush = async () => {
      if (batch.length === 0) return
      const { succeeded, ranges } = await this.#client.txn({
        compare: [...this.#fenced()],
        success: nest(batch, 0),
        failure: this.#readFence(),
      })
      if (!succeeded) {
        this.#checkFence(ranges[0])
        throw notLeader()
      }
      batch = []
      bytes = 0
    }
    for (const { key, id, value } of ahead) {
      let number = 0
      for (let at = 0; at < value.byteLength; number++) {
        const partKey = this.#keys.part(key, id, number)
        const fixed = partKey.byteLength + 32
        if (bytes + fixed >= this.room) await flush()
        const part = value.subarray(at, at + this.room - bytes - fixed)
        batch.push({ type: 'put', key: partKey, parts: [part] })
        bytes += part.byteLength + fixed
        at += part.byteLength
      }
    }
    await flush()
  }

  #committed(writes: readonly WriteOperation[], { ahead }: CommitPlan, revision: number): void {
    if (this.#parts.size > 0) {
      for (const { key } of writes) {
        const before = this.#parts.get(key)
        if (before && before.revision < revision) this.#parts.delete(key)
      }
    }
    for (const { key, id } of ahead) this.#parts.set(key, { ids: [id], revision })
    if (ahead.length > 0) this.#epoch = Math.max(this.#epoch, revision)
  }

  async #settle(): Promise<void> {
    const { epoch } = this.#keys
    try {
      const { succeeded, ranges, revision } = await this.#client.txn({
        compare: this.#fenced(),
        success: [putFormat(epoch)],
        failure: this.#readFence(),
      })
      // A leader no more: its Txns fail by themselves.
      if (!succeeded && this.#fence) {
        if (isHeld(this.#fence, ranges[0])) throw damaged(epoch)
        this.#fence.refused()
      } else {
        await this.#learn(revision)
      }
      this.#doubt = false
    } catch (error) {
      throw etcdError(error)
    }
  }

  #refresh(outdated: number): Promise<void> {
    if (this.#epoch !== outdated) return Promise.resolve()
    this.#refreshing ??= this.#learn(0).finally(() => {
      this.#refreshing = undefined
    })
    return this.#refreshing
  }

  /** Which keys have values in parts, and the epoch, at one revision. */
  async #learn(revision: number): Promise<void> {
    const answer = await this.#client.range({ key: this.#keys.epoch, revision })
    const epoch = answer.entries[0]
    if (epoch === undefined) throw damaged(this.#keys.epoch)
    const at = revision || answer.revision
    const parts = new Map<string, PartsOfKey>()
    for await (const { key, id } of this.#partsAt(at)) {
      const known = parts.get(key) ?? { ids: [], revision: at }
      parts.set(key, known)
      if (!known.ids.some((other) => other.equals(id))) known.ids.push(id)
    }
    if (epoch.modRevision < this.#epoch) return
    this.#parts = parts
    this.#epoch = epoch.modRevision
  }

  async *#partsAt(revision: number): AsyncGenerator<{ key: string; id: Buffer; modRevision: number }> {
    const { parts: first, partsEnd: end } = this.#keys
    for (let key = first, more = true; more; ) {
      const page = await this.#client.range({ key, end, limit: PAGE, revision, keysOnly: true })
      for (const entry of page.entries) {
        yield { ...this.#keys.parsePart(entry.key), modRevision: entry.modRevision }
        key = Buffer.concat([entry.key, Buffer.alloc(1)])
      }
      more = page.more
    }
  }

  /** Removes parts that no key names. Those from before this epoch stay unnamed: their commits can no longer succeed. */
  async #sweep(): Promise<void> {
    for (const [key, { ids }] of this.#parts) {
      const { entries } = await this.#client.range({ key: this.#keys.data(key) })
      const stored = entries[0] && readStored(key, entries[0].value)
      const named = stored === undefined || stored instanceof Uint8Array ? undefined : stored.id
      const unnamed = ids.filter((id) => !named?.equals(id))
      if (unnamed.length === 0) continue
      const operations = unnamed.map((id) => ({ type: 'delete', ...this.#keys.partsOf(key, id) }) as const)
      await this.#client.txn({
        compare: [...this.#fenced(), { key: this.#keys.epoch, result: 'equal', target: 'modify', value: this.#epoch }],
        success: nest(operations, 0),
        failure: [],
      })
    }
  }

  #fenced(): readonly Compare[] {
    return this.#fence?.compare ?? []
  }

  #readFence(): TxnOperation[] {
    return this.#fence ? [{ type: 'range', range: { key: this.#fence.key, keysOnly: true } }] : []
  }

  /** Throws when the lock's key, as read by a Txn that failed, is not the leader's. */
  #checkFence(lock: RangeResponse | undefined): void {
    if (this.#fence === undefined || isHeld(this.#fence, lock)) return
    this.#fence.refused()
    throw notLeader()
  }
}

function isHeld(fence: Fence, lock: RangeResponse | undefined): boolean {
  const entry = lock?.entries[0]
  return fence.compare.every(
    ({ target, value }) => (target === 'create' ? entry?.createRevision : entry?.lease) === value,
  )
}

function putFormat(key: Buffer): TxnOperation {
  return { type: 'put', key, parts: [Buffer.from(FORMAT)] }
}

function checkFormat(format: string, key: Buffer): void {
  if (format === FORMAT) return
  const newer = /^\d{1,9}$/.test(format) && Number(format) > Number(FORMAT)
  throw newer
    ? new StorageError(
        'STORAGE_NEWER_FORMAT',
        `key ${key} says format ${format}, newer than ${FORMAT}, the newest this version can read`,
      )
    : damaged(key)
}

function damaged(key: Buffer): StorageError {
  return new StorageError(
    'STORAGE_CORRUPT',
    `key ${JSON.stringify(key.toString())} does not name a format this version knows`,
  )
}

function conflict(): StorageError {
  return new StorageError('STORAGE_CONFLICT', 'another commit changed what the transaction read')
}
