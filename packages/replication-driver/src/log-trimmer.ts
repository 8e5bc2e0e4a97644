import type { Engine, WriteOperation } from '@lockstep/storage'
import { decodeRow, encodeHead, HEAD, indexOfLogKey, LOG, type LogState, logKey } from './layout.ts'
import type { Runtime } from './runtime.ts'

export interface LogPressure {
  /** Of the log kept now, and its cap. */
  bytes: number
  capBytes: number
  /** The consumer whose position holds back trimming, and that position. */
  consumer: string | undefined
  index: number | undefined
}

export interface LogTrimmer {
  retain(consumer: string, index: number): void
  release(consumer: string): void
  /** To be called after every append; cheap. */
  appended(): void
  /** The records of the range have been given up by moving `start` past them; deletes them in background. */
  discard(range: { from: number; to: number }): void
  /** Waits for a trim under way and starts no other. */
  stop(): Promise<void>
  /** Trims now, without waiting for the delay. */
  trim(): Promise<void>
}

export interface LogTrimmerOptions {
  logBytes: number
  /** Records kept at most. */
  logRecords: number
  /** How long consumers may take to register after the store is opened, and how often trims run. ms. */
  trimDelayMs: number
  onLogPressure?: ((pressure: LogPressure) => void) | undefined
  runtime: Pick<Runtime, 'after'>
}

/** Share of the cap at which the warning goes out, the share that a forced trim leaves, and the share that rearms the warning. */
const WARN = 0.75
const LEAVE = 0.9
const REARM = 0.6
/** Records deleted in one commit. */
const BATCH = 256

/**
 * Gives up the oldest records: those that every registered consumer has, and when the log outgrows its cap those that
 * some consumer still needs. With no consumer registered only the cap applies: an unregistered secondary may yet come.
 * `start` moves first, durably; then the bodies go, in small commits. A crash between leaves rubbish the next open finds.
 */
export function logTrimmer(
  physical: Engine,
  state: LogState,
  /** Runs the body while no commit group is under way and `state` is what the disk says. */
  quietly: (body: () => Promise<void>) => Promise<void>,
  options: LogTrimmerOptions,
): LogTrimmer {
  const { logBytes, logRecords } = options
  const consumers = new Map<string, number>()
  const rubbish: { from: number; to: number }[] = []
  let warned = false
  let stopped = false
  let running: Promise<void> | undefined
  let cancelTimer: (() => void) | undefined

  const kept = () => state.bytes - state.bytesBeforeStart
  const keptRecords = () => state.index - state.start + 1

  const slowest = () => {
    let found: { consumer: string; index: number } | undefined
    for (const [consumer, index] of consumers) if (!found || index < found.index) found = { consumer, index }
    return found
  }

  /** First index whose record may stay so that at most `bytes` are kept. Binary search over row headers. */
  const startFor = async (bytes: number): Promise<number> => {
    const { start, index, bytes: total } = state
    let low = start
    let high = index + 1
    while (low < high) {
      const middle = (low + high) >>> 1
      const row = await physical.get(logKey(middle))
      if (row === undefined || total - decodeRow(row).bytes <= bytes) high = middle
      else low = middle + 1
    }
    return Math.min(low + 1, index + 1)
  }

  const moveStart = async (wanted: number) => {
    await quietly(async () => {
      const start = Math.min(wanted, state.index + 1)
      if (start <= state.start) return
      const row = await physical.get(logKey(start - 1))
      if (row === undefined) return
      const { digest, bytes } = decodeRow(row)
      const moved = { ...state, start, digestBeforeStart: digest, bytesBeforeStart: bytes }
      await physical.write([{ type: 'put', key: HEAD, value: encodeHead(moved) }])
      rubbish.push({ from: state.start, to: start - 1 })
      Object.assign(state, moved)
    })
  }

  const sweep = async () => {
    for (let range = rubbish[0]; range && !stopped; range = rubbish[0]) {
      const to = Math.min(range.to, range.from + BATCH - 1)
      const deletes: WriteOperation[] = []
      for (let index = range.from; index <= to; index++) deletes.push({ type: 'delete', key: logKey(index) })
      await physical.write(deletes)
      if (to === range.to) rubbish.shift()
      else range.from = to + 1
    }
  }

  const pass = async () => {
    const behind = slowest()
    if (behind && behind.index + 1 > state.start) await moveStart(behind.index + 1)
    if (kept() > logBytes) await moveStart(await startFor(logBytes * LEAVE))
    if (keptRecords() > logRecords) await moveStart(state.index + 1 - Math.floor(logRecords * LEAVE))
    await sweep()
  }

  const trim = async () => {
    cancelTimer?.()
    cancelTimer = undefined
    while (running) await running
    if (stopped) return
    running = pass().finally(() => {
      running = undefined
    })
    await running
  }

  const schedule = (delay: number) => {
    if (stopped || (cancelTimer && delay > 0)) return
    cancelTimer?.()
    // A failed trim loses nothing: the next append or retain schedules another.
    cancelTimer = options.runtime.after(delay, () => void trim().catch(() => {}), { background: true })
  }

  const warn = () => {
    const bytes = kept()
    if (bytes < logBytes * REARM) warned = false
    if (warned || bytes < logBytes * WARN) return
    warned = true
    const behind = slowest()
    options.onLogPressure?.({ bytes, capBytes: logBytes, consumer: behind?.consumer, index: behind?.index })
  }

  return {
    retain(consumer, index) {
      consumers.set(consumer, index)
      if ((slowest()?.index ?? 0) + 1 >= state.start + BATCH) schedule(options.trimDelayMs)
    },
    release(consumer) {
      if (consumers.delete(consumer)) schedule(options.trimDelayMs)
    },
    appended() {
      warn()
      if ((kept() > logBytes || keptRecords() > logRecords) && !running) schedule(0)
    },
    discard({ from, to }) {
      rubbish.push({ from, to })
      schedule(options.trimDelayMs)
    },
    async stop() {
      stopped = true
      cancelTimer?.()
      await running?.catch(() => {})
    },
    trim,
  }
}

/** Log rows below `start`: left by a crash between moving `start` and deleting. */
export async function findRubbish(physical: Engine, start: number): Promise<{ from: number; to: number } | undefined> {
  const edge = async (reverse: boolean) => {
    for await (const [key] of physical.scan({ prefix: LOG, before: logKey(start), limit: 1, reverse })) {
      return indexOfLogKey(key)
    }
    return undefined
  }
  const from = await edge(false)
  const to = await edge(true)
  return from === undefined || to === undefined ? undefined : { from, to }
}
