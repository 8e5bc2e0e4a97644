/** Who needs the log from where on, and how much of it that is. */
import type { Engine } from '@lockstep/storage'
import { decodeRow, type LogState, type LogTimes, logKey } from './layout.ts'
import type { TailRecord } from './log-tail.ts'

export interface LogConsumer {
  consumer: string
  /** Everything up to this index was acknowledged. Below `oldest() - 1`: the log no longer reaches back to it. */
  index: number
  /** Bytes of the records logged after it. */
  bytesBehind: number
  /** Age of the oldest record it has not acknowledged, ms; 0 when it has all. */
  ageMs: number
}

export interface LogConsumers {
  retain(consumer: string, index: number): void
  release(consumer: string): boolean
  /** To be called after every append. */
  appended(): void
  slowest(): { consumer: string; index: number } | undefined
  list(): LogConsumer[]
}

interface Place {
  index: number
  /** Bytes logged up to and with `index`, and the time of the record after it, as far as they are known. */
  bytes: number | undefined
  nextTime: number | undefined
}

export interface LogConsumersComponents {
  physical: Engine
  state: LogState & LogTimes
  /** What is in memory of a record. */
  recent(index: number): TailRecord | undefined
  now(): number
}

export function logConsumers({ physical, state, recent, now }: LogConsumersComponents): LogConsumers {
  const places = new Map<string, Place>()

  const bytesAt = (index: number) => {
    if (index === state.index) return state.bytes
    return index === state.start - 1 ? state.bytesBeforeStart : recent(index)?.bytes
  }
  const timeAt = (index: number) => (index === state.start ? state.startTime : recent(index)?.time)

  /** A place that memory does not reach back to is read from the disk; until then the whole log counts. */
  const load = async (place: Place): Promise<void> => {
    const { index } = place
    const rows = await physical.getMany([logKey(index), logKey(index + 1)])
    place.bytes ??= rows[0] && decodeRow(rows[0]).bytes
    place.nextTime ??= rows[1] && decodeRow(rows[1]).time
  }

  return {
    retain(consumer, index) {
      const known = places.get(consumer)
      if (known?.index === index) return
      const place: Place = { index, bytes: bytesAt(index), nextTime: timeAt(index + 1) }
      places.set(consumer, place)
      const unknown = place.bytes === undefined || (place.nextTime === undefined && index < state.index)
      // What cannot be read stays unknown: it is only told, nothing is decided by it.
      if (unknown && index < state.index) void load(place).catch(() => {})
    },
    release: (consumer) => places.delete(consumer),
    appended() {
      for (const place of places.values()) {
        if (place.nextTime === undefined && place.index < state.index) place.nextTime = timeAt(place.index + 1)
      }
    },
    slowest() {
      let found: { consumer: string; index: number } | undefined
      for (const [consumer, { index }] of places) if (!found || index < found.index) found = { consumer, index }
      return found
    },
    list() {
      return [...places].map(([consumer, { index, bytes, nextTime }]) => {
        const behind = index < state.index
        const since = nextTime ?? state.startTime ?? now()
        return {
          consumer,
          index,
          bytesBehind: behind ? state.bytes - (bytes ?? state.bytesBeforeStart) : 0,
          ageMs: behind ? Math.max(0, now() - since) : 0,
        }
      })
    },
  }
}
