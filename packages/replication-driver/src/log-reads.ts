/** Reads of the log for all secondaries of a store: gathered a little, and what several ask for is read once. */
import type { Cursor, PrimaryEvent } from '@lockstep/replication'
import type { Log } from './logged-store.ts'
import type { Runtime } from './runtime.ts'

export type LogRead = Extract<PrimaryEvent, { type: 'records' }>['result']

export interface LogReads {
  /**
   * Records after `after`. Those who ask for the same together get the same array. Waits up to 10 ms for more records when there are few and
   * the last read was just now: on a busy primary that makes one message of what would have been many.
   */
  read(after: number, maxBytes: number): Promise<LogRead>
}

type LogReader = Pick<Log, 'head' | 'read' | 'digestAt'>

/** Shortest time between two reads of few records, ms. */
const PAUSE_MS = 10
/** So many records are worth a message at once. */
const ENOUGH = 128

const readersOf = new WeakMap<LogReader, LogReads>()

/** The one reader of a log. The runtime is that of whoever asks first. */
export function logReads(log: LogReader, runtime: Pick<Runtime, 'now' | 'after'>): LogReads {
  let reads = readersOf.get(log)
  if (reads === undefined) {
    reads = gatheredReads(log, runtime)
    readersOf.set(log, reads)
  }
  return reads
}

interface Waiting {
  after: number
  maxBytes: number
  promise: Promise<LogRead>
  resolve(result: LogRead | Promise<LogRead>): void
}

function gatheredReads(log: LogReader, runtime: Pick<Runtime, 'now' | 'after'>): LogReads {
  let waiting: Waiting[] = []
  let lastRead = Number.NEGATIVE_INFINITY
  let cancelTimer: (() => void) | undefined
  let due = false

  const readAll = (): void => {
    cancelTimer?.()
    cancelTimer = undefined
    due = false
    lastRead = runtime.now()
    const ready = waiting
    waiting = []
    for (const { after, maxBytes, resolve } of ready) resolve(readLog(log, after, maxBytes))
  }

  return {
    read(after, maxBytes) {
      const same = waiting.find((other) => other.after === after && other.maxBytes === maxBytes)
      if (same) return same.promise
      let resolve!: Waiting['resolve']
      const promise = new Promise<LogRead>((done) => {
        resolve = done
      })
      waiting.push({ after, maxBytes, promise, resolve })
      const elapsed = runtime.now() - lastRead
      // A clock that was set back counts as time that has passed.
      if (log.head().index - after >= ENOUGH || elapsed >= PAUSE_MS || elapsed < 0) {
        // After this turn, in which other secondaries may ask for the same.
        if (!due) queueMicrotask(readAll)
        due = true
      } else if (!due) {
        cancelTimer ??= runtime.after(PAUSE_MS, readAll)
      }
      return promise
    },
  }
}

async function readLog(log: LogReader, after: number, maxBytes: number): Promise<LogRead> {
  try {
    const records = await log.read(after, maxBytes)
    const last = records.at(-1)
    if (last === undefined) return { records, end: log.head() }
    const head = log.head()
    const digest = last.index === head.index ? head.digest : await log.digestAt(last.index)
    if (digest === undefined) return 'trimmed'
    const end: Cursor = { epoch: last.epoch, index: last.index, digest }
    return { records, end }
  } catch (error) {
    if ((error as { code?: unknown }).code === 'REPLICATION_LOG_TRIMMED') return 'trimmed'
    throw error
  }
}
