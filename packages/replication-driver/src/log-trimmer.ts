import type { Engine, WriteOperation } from '@lockstep/storage'
import {
  decodeRow,
  encodeHead,
  HEAD,
  indexOfLogKey,
  LOG,
  type LogRow,
  type LogState,
  type LogTimes,
  logKey,
} from './layout.ts'
import type { LogConsumers } from './log-consumers.ts'
import type { Runtime } from './runtime.ts'

export interface LogPressure {
  /** Which of the caps is near. */
  cap: 'bytes' | 'age'
  /** Of the log kept now, and its cap. */
  bytes: number
  capBytes: number
  /** Age of the oldest record kept, and its cap. */
  ageMs: number
  capAgeMs: number
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

export interface LogTrimmerComponents {
  physical: Engine
  state: LogState & LogTimes
  consumers: LogConsumers
  /** Runs the body while no commit group is under way and `state` is what the disk says. */
  quietly(body: () => Promise<void>): Promise<void>
  runtime: Pick<Runtime, 'now' | 'after'>
}

export interface LogTrimmerOptions {
  logBytes: number
  /** Records kept at most. */
  logRecords: number
  /** Age at which a record is given up, ms. */
  logMaxAgeMs: number
  /** How long consumers may take to register after the store is opened, and how often trims run. ms. */
  trimDelayMs: number
  onLogPressure?: ((pressure: LogPressure) => void) | undefined
}

/** Share of the cap at which the warning goes out, the share that a forced trim leaves, and the share that rearms the warning. */
const WARN = 0.75
const LEAVE = 0.9
const REARM = 0.6
/** Records deleted in one commit. */
const BATCH = 1024
/** How many records a consumer has to come on for a trim to be due. */
const WORTH_A_TRIM = 256
/** Timers do not reach further than 24 days. */
const LONGEST_TIMER_MS = 24 * 60 * 60 * 1000

/**
 * Gives up the oldest records: those that every registered consumer has, and when the log outgrows its caps (bytes, records, age)
 * those that some consumer still needs. With no consumer registered only the caps apply: an unregistered secondary may yet come.
 * `start` moves first, durably; then the bodies go, in small commits. A crash between leaves rubbish the next open finds.
 *
 * Positions of consumers are not stored. Every trim moves `start` to the slowest one's, so a primary that starts knows by its log's
 * oldest record what the slowest one may lack, to within one trim delay.
 */
export function logTrimmer(components: LogTrimmerComponents, options: LogTrimmerOptions): LogTrimmer {
  const { physical, state, consumers, quietly, runtime } = components
  const { logBytes, logRecords, logMaxAgeMs } = options
  const rubbish: { from: number; to: number }[] = []
  const warned = { bytes: false, age: false }
  let stopped = false
  let running: Promise<void> | undefined
  let cancelTimer: (() => void) | undefined
  let cancelAgeTimer: (() => void) | undefined

  const kept = () => state.bytes - state.bytesBeforeStart
  const keptRecords = () => state.index - state.start + 1
  const age = () => (state.startTime === undefined ? 0 : Math.max(0, runtime.now() - state.startTime))

  /** First index from `state.start` whose row `mayStay`, given that all after it may too. Binary search over row headers. */
  const firstThat = async (mayStay: (row: LogRow) => boolean): Promise<number> => {
    let low = state.start
    let high = state.index + 1
    while (low < high) {
      const middle = (low + high) >>> 1
      const row = await physical.get(logKey(middle))
      if (row === undefined || mayStay(decodeRow(row))) high = middle
      else low = middle + 1
    }
    return low
  }

  /** `wanted` is asked when it is certain that nothing else is under way: a consumer may have come back for more meanwhile. */
  const moveStart = async (wanted: () => number) => {
    await quietly(async () => {
      const start = Math.min(wanted(), state.index + 1)
      if (start <= state.start) return
      const [before, first] = await physical.getMany([logKey(start - 1), logKey(start)])
      if (before === undefined) return
      const { digest, bytes } = decodeRow(before)
      const startTime = first && decodeRow(first).time
      const moved = { ...state, start, startTime, digestBeforeStart: digest, bytesBeforeStart: bytes }
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
    const acknowledged = () => (consumers.slowest()?.index ?? -1) + 1
    if (acknowledged() > state.start) await moveStart(acknowledged)
    if (kept() > logBytes) {
      const total = state.bytes
      // The first row at which few enough bytes follow is itself one too many.
      const first = await firstThat(({ bytes }) => total - bytes <= logBytes * LEAVE)
      await moveStart(() => first + 1)
    }
    if (keptRecords() > logRecords) await moveStart(() => state.index + 1 - Math.floor(logRecords * LEAVE))
    if (age() >= logMaxAgeMs) {
      const oldest = runtime.now() - logMaxAgeMs
      const first = await firstThat(({ time }) => time > oldest)
      await moveStart(() => first)
    }
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
    watchAge()
  }

  const schedule = (delay: number) => {
    if (stopped || (cancelTimer && delay > 0)) return
    cancelTimer?.()
    // A failed trim loses nothing: the next append or retain schedules another.
    cancelTimer = runtime.after(delay, () => void trim().catch(() => {}), { background: true })
  }

  const pressure = (cap: LogPressure['cap']) => {
    const behind = consumers.slowest()
    options.onLogPressure?.({
      cap,
      bytes: kept(),
      capBytes: logBytes,
      ageMs: age(),
      capAgeMs: logMaxAgeMs,
      consumer: behind?.consumer,
      index: behind?.index,
    })
  }

  const warnOfBytes = () => {
    const bytes = kept()
    if (bytes < logBytes * REARM) warned.bytes = false
    if (warned.bytes || bytes < logBytes * WARN) return
    warned.bytes = true
    pressure('bytes')
  }

  const warnOfAge = () => {
    const now = age()
    if (now < logMaxAgeMs * REARM) warned.age = false
    // Old records that nobody waits for are no news.
    if (warned.age || now < logMaxAgeMs * WARN || consumers.slowest() === undefined) return
    warned.age = true
    pressure('age')
  }

  /** The age grows by itself: one timer for the next moment at which there is something to say or to do. */
  const watchAge = () => {
    if (stopped || cancelAgeTimer || state.startTime === undefined) return
    const now = age()
    const next = now < logMaxAgeMs * WARN ? logMaxAgeMs * WARN : logMaxAgeMs
    const delay = Math.min(Math.max(next - now, options.trimDelayMs), LONGEST_TIMER_MS)
    const onTime = () => {
      cancelAgeTimer = undefined
      warnOfAge()
      if (age() >= logMaxAgeMs) schedule(0)
      watchAge()
    }
    cancelAgeTimer = runtime.after(delay, onTime, { background: true })
  }
  watchAge()

  return {
    retain(consumer, index) {
      consumers.retain(consumer, index)
      if ((consumers.slowest()?.index ?? 0) + 1 >= state.start + WORTH_A_TRIM) schedule(options.trimDelayMs)
    },
    release(consumer) {
      if (consumers.release(consumer)) schedule(options.trimDelayMs)
    },
    appended() {
      consumers.appended()
      warnOfBytes()
      watchAge()
      if ((kept() > logBytes || keptRecords() > logRecords) && !running) schedule(0)
    },
    discard({ from, to }) {
      rubbish.push({ from, to })
      schedule(options.trimDelayMs)
    },
    async stop() {
      stopped = true
      cancelTimer?.()
      cancelAgeTimer?.()
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
