/**
 * A disk with one file: an append log of checksummed batches. A batch is durable once it was synced; opening replays the file up to
 * the first batch that is not whole. What is on the disk outlives the process.
 */
import { crc32 } from 'node:zlib'
import { type Engine, memoryEngine, type ScanRange, type WriteOperation } from '@lockstep/storage'
import type { Kernel, Process } from './kernel.ts'

export interface DiskFaults {
  /** Chance that a write finds no space; nothing of it is stored. */
  noSpace: number
  /** Chance that a write fails although it is stored, and that it fails with the file refusing all further writes. */
  inDoubt: number
  syncFails: number
  /** ms per step, and what reads take (0: answered at once). */
  writeMs: number
  readMs: number
}

export interface Disk {
  readonly faults: DiskFaults
  open(process: Process): Promise<Engine>
  /** The process stops at the `steps`-th I/O step from now. */
  crashIn(steps: number): void
  /** Flips one bit of a durable batch that is not the last. False when there is none. */
  flipBit(): boolean
  /** A new, empty disk. */
  wipe(): void
  /** Refuses writes until it is opened again. */
  readonly broken: boolean
  /** Bits were flipped, found or not. */
  readonly rotten: boolean
  /** A checksum did not match. */
  readonly corrupt: boolean
}

export interface DiskComponents {
  kernel: Kernel
  name: string
  /** A batch has become durable, or was found to have when the file was opened. */
  onDurable(operations: readonly WriteOperation[]): void
  /** The process has to stop here. */
  crash(): void
}

interface Batch {
  bytes: Buffer
  synced: boolean
  /** `onDurable` was told. */
  told: boolean
}

const NEVER: Promise<never> = new Promise(() => {})

export function simulatedDisk({ kernel, name, onDurable, crash }: DiskComponents): Disk {
  const { random } = kernel
  const faults: DiskFaults = { noSpace: 0, inDoubt: 0, syncFails: 0, writeMs: 1, readMs: 0 }
  let file: Batch[] = []
  let rotten = 0
  let broken = false
  let corrupt = false
  let stepsLeft = Number.POSITIVE_INFINITY

  const error = (code: string, message: string) => Object.assign(new Error(`${name}: ${message}`), { code })
  const found = () => {
    corrupt = true
    kernel.trace(`${name} disk: checksum mismatch`)
    return error('EIO', 'checksum mismatch')
  }
  const durable = (batch: Batch, operations: readonly WriteOperation[]) => {
    batch.synced = true
    if (batch.told) return
    batch.told = true
    onDurable(operations)
  }

  const afterCrash = (): void => {
    let keep = file.findIndex((batch) => !batch.synced)
    if (keep < 0) return
    // Of what was not synced, a part from the front may have reached the platter, its end torn.
    while (keep < file.length && random.chance(0.5)) keep++
    const torn = file[keep]
    file = file.slice(0, keep)
    if (torn && random.chance(0.5)) {
      kernel.trace(`${name} disk: torn tail`)
      file.push({ ...torn, bytes: torn.bytes.subarray(0, random.below(torn.bytes.length)) })
    }
  }

  return {
    faults,
    get broken() {
      return broken
    },
    get rotten() {
      return rotten > 0
    },
    get corrupt() {
      return corrupt
    },
    crashIn(steps) {
      stepsLeft = steps
    },
    flipBit() {
      const batch = file[random.below(file.length - 1)]
      if (batch === undefined || !batch.synced) return false
      // A copy: the decoded values of the table are views of the bytes.
      batch.bytes = Buffer.from(batch.bytes)
      const at = random.below(batch.bytes.length)
      batch.bytes[at] = batch.bytes[at]! ^ (1 << random.below(8))
      rotten++
      return true
    },
    wipe() {
      file = []
      rotten = 0
      corrupt = false
      stepsLeft = Number.POSITIVE_INFINITY
    },
    async open(process) {
      afterCrash()
      broken = false
      stepsLeft = Number.POSITIVE_INFINITY
      const table = memoryEngine()
      const home = new Map<string, Batch>()
      const apply = (batch: Batch, operations: readonly WriteOperation[]) => {
        for (const { key } of operations) home.set(key, batch)
        void table.write(operations)
      }
      for (const [place, batch] of file.entries()) {
        const operations = decodeBatch(batch.bytes)
        if (operations === undefined) {
          // A store cannot tell rot in its very last batch from a torn one; flips never start there, so it is no torn one here either.
          if (place < file.length - 1 || batch.synced) throw found()
          file.pop()
          break
        }
        durable(batch, operations)
        apply(batch, operations)
      }

      const gone = () => !process.alive
      /** Time passes; false when the process did not live to see it. */
      const step = (ms: number): Promise<boolean> =>
        new Promise((resolve) => {
          if (--stepsLeft <= 0) {
            stepsLeft = Number.POSITIVE_INFINITY
            crash()
            return
          }
          process.after(ms, () => resolve(true))
        })
      const read = async <T>(body: () => Promise<T>): Promise<T> => {
        if (gone()) return NEVER
        if (faults.readMs > 0) await step(random.float() * faults.readMs)
        return body()
      }
      const check = (key: string): void => {
        if (rotten === 0) return
        const batch = home.get(key)
        if (batch !== undefined && decodeBatch(batch.bytes) === undefined) throw found()
      }

      let queue: Promise<void> = Promise.resolve()
      const write = async (operations: readonly WriteOperation[]): Promise<void> => {
        if (gone()) return NEVER
        if (broken) throw error('EIO', 'the file was closed after a failed sync')
        await step(random.float() * faults.writeMs)
        if (random.chance(faults.noSpace)) throw error('ENOSPC', 'no space left')
        const batch: Batch = { bytes: encodeBatch(operations), synced: false, told: false }
        file.push(batch)
        await step(random.float() * faults.writeMs)
        if (random.chance(faults.syncFails)) {
          broken = true
          throw error('EIO', 'sync failed')
        }
        durable(batch, operations)
        apply(batch, operations)
        // Durable, and the process dies before it hears of it.
        if (stepsLeft < Number.POSITIVE_INFINITY) await step(0)
        if (random.chance(faults.inDoubt)) throw error('EIO', 'the answer was lost')
      }

      return {
        get: (key) =>
          read(() => {
            check(key)
            return table.get(key)
          }),
        getMany: (keys) =>
          read(() => {
            for (const key of keys) check(key)
            return table.getMany(keys)
          }),
        async *scan(range: ScanRange) {
          if (gone()) await NEVER
          if (faults.readMs > 0) await step(random.float() * faults.readMs)
          for await (const entry of table.scan(range)) {
            check(entry[0])
            yield entry
          }
        },
        write(operations) {
          const copy = operations.slice()
          const done = queue.then(() => write(copy))
          queue = done.catch(() => {})
          return done
        },
        close: () => Promise.resolve(),
      }
    },
  }
}

/** Length and CRC-32 of the body, then the operations. */
function encodeBatch(operations: readonly WriteOperation[]): Buffer {
  let size = 8
  const keys = operations.map(({ key }) => Buffer.from(key))
  for (const [i, operation] of operations.entries()) {
    size += 7 + keys[i]!.length + (operation.type === 'put' ? operation.value.byteLength : 0)
  }
  const bytes = Buffer.alloc(size)
  let at = 8
  for (const [i, operation] of operations.entries()) {
    const key = keys[i]!
    at = bytes.writeUInt8(operation.type === 'put' ? 1 : 0, at)
    at = bytes.writeUInt16BE(key.length, at)
    at = bytes.writeUInt32BE(operation.type === 'put' ? operation.value.byteLength : 0, at)
    at += key.copy(bytes, at)
    if (operation.type === 'put') {
      bytes.set(operation.value, at)
      at += operation.value.byteLength
    }
  }
  bytes.writeUInt32BE(size - 8, 0)
  bytes.writeUInt32BE(crc32(bytes.subarray(8)), 4)
  return bytes
}

/** Undefined when the batch is not whole. */
function decodeBatch(bytes: Buffer): WriteOperation[] | undefined {
  if (bytes.length < 8 || bytes.readUInt32BE(0) !== bytes.length - 8) return undefined
  if (crc32(bytes.subarray(8)) !== bytes.readUInt32BE(4)) return undefined
  const operations: WriteOperation[] = []
  for (let at = 8; at < bytes.length; ) {
    const put = bytes[at] === 1
    const keyEnd = at + 7 + bytes.readUInt16BE(at + 1)
    const end = keyEnd + bytes.readUInt32BE(at + 3)
    const key = bytes.toString('utf8', at + 7, keyEnd)
    operations.push(put ? { type: 'put', key, value: bytes.subarray(keyEnd, end) } : { type: 'delete', key })
    at = end
  }
  return operations
}
