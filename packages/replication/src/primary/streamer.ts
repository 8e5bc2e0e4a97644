/**
 * Sends the log after a position: filtered, in batches of whole records, at most a window of bytes ahead of the secondary's
 * acknowledgements. Stretches in which everything was filtered out become one message that only moves the cursor.
 */
import type { ForestReader } from '../merkle/forest.ts'
import type { Wal } from '../messages.ts'
import type { Cursor, PartitionId } from '../types.ts'
import { sameCursor } from '../wal/cursor.ts'
import type { PrimaryComponents, PrimaryEffect, PrimaryEvent, PrimaryOptions } from './contract.ts'
import { shippedBatch, walMessage } from './shared-batch.ts'
import type { Shipping } from './shipping.ts'

type RecordsEvent = Extract<PrimaryEvent, { type: 'records' }>

export interface Streamer {
  readonly sentIndex: number
  readonly inFlightBytes: number
  /** Asks for what there is to send. */
  pump(now: number): PrimaryEffect[]
  /** "trimmed": the log no longer reaches back to the position. */
  onRecords(event: RecordsEvent, now: number): PrimaryEffect[] | 'trimmed'
  /** False for a cursor that was never sent. */
  onAck(cursor: Cursor): boolean
  tick(now: number): PrimaryEffect[]
}

export interface StreamerContext {
  components: PrimaryComponents
  shipping: Shipping
  options: Required<PrimaryOptions>
  round: number
  /** Whether messages say what they continue and carry a digest. */
  verifying: boolean
  /** Numbers for read effects, unique on the link. */
  nextId(): number
}

/** What a message that only moves the cursor counts in the window. */
const CURSOR_BYTES = 64
/**
 * With something unacknowledged and nothing sent for this long, a message that only repeats the cursor shows the secondary whether
 * the last one came. Without it a lost message would go unnoticed until the next one, and a full window for good.
 */
const PROBE_MS = 5000

/** A clock that was set back counts as time that has passed. */
const since = (then: number, now: number): number => (now < then ? Number.POSITIVE_INFINITY : now - then)

export function streamer(context: StreamerContext, from: Cursor): Streamer {
  const { components, shipping, options, round, verifying } = context
  const { log } = components
  const inFlight: { cursor: Cursor; bytes: number }[] = []
  let inFlightBytes = 0
  /** Read and filtered up to here; `sent` lags behind it by a stretch of which nothing was shipped. */
  let position = from
  let sent = from
  let acknowledged = from
  let reading: number | undefined
  let started = false
  let guardDue = true
  let lastGuard = { index: -1, at: 0 }
  let lastSent = 0

  const send = (groups: Wal['groups'], bytes: number, now: number): PrimaryEffect => {
    const head = log.head()
    const atHead = head.index === position.index
    let guard: Uint8Array | null = null
    if (atHead && guardDue) {
      guard = composedRoot(components.forest, shipping)
      guardDue = false
      lastGuard = { index: position.index, at: now }
    }
    started = true
    lastSent = now
    const batch = { after: sent, cursor: position, head: head.index, groups, guard }
    sent = position
    inFlight.push({ cursor: position, bytes })
    inFlightBytes += bytes
    return { type: 'send', message: walMessage(round, batch, verifying) }
  }

  const pump = (now: number): PrimaryEffect[] => {
    if (reading !== undefined) return []
    if (position.index < log.head().index) {
      if (inFlightBytes >= options.windowBytes) return []
      reading = context.nextId()
      return [{ type: 'read-log', id: reading, after: position.index, maxBytes: options.batchBytes }]
    }
    // Moving only the cursor waits for earlier messages to be acknowledged: on a busy primary whose records this secondary
    // does not get, that makes one small message per round trip and not one per record.
    const behind = position.index > sent.index
    return (behind || !started) && inFlight.length === 0 ? [send([], CURSOR_BYTES, now)] : []
  }

  return {
    get sentIndex() {
      return sent.index
    },
    get inFlightBytes() {
      return inFlightBytes
    },
    pump,

    onRecords({ id, result }, now) {
      if (id !== reading) return []
      reading = undefined
      if (result === 'trimmed' || (result.records.length > 0 && result.records[0]!.index !== position.index + 1)) {
        return 'trimmed'
      }
      if (result.records.length === 0) return pump(now)
      const { groups, bytes } = shippedBatch(result.records, shipping)
      position = result.end
      const effects = groups.length > 0 ? [send(groups, bytes + CURSOR_BYTES, now)] : []
      return [...effects, ...pump(now)]
    },

    onAck(cursor) {
      let reached = acknowledged
      while (inFlight.length > 0 && inFlight[0]!.cursor.index <= cursor.index) {
        const done = inFlight.shift()!
        inFlightBytes -= done.bytes
        reached = done.cursor
      }
      acknowledged = reached
      return sameCursor(reached, cursor)
    },

    tick(now) {
      guardDue = true
      if (verifying && inFlight.length > 0 && since(lastSent, now) >= PROBE_MS) return [send([], CURSOR_BYTES, now)]
      if (reading !== undefined || inFlightBytes >= options.windowBytes) return []
      const behind = position.index > sent.index
      const atHead = position.index === log.head().index
      const unproved = lastGuard.index !== position.index || since(lastGuard.at, now) >= options.guardIntervalMs
      return behind || (atHead && unproved) ? [send([], CURSOR_BYTES, now)] : pump(now)
    },
  }
}

export function composedRoot(forest: ForestReader, shipping: { shipsPartition(id: PartitionId): boolean }): Uint8Array {
  return forest.composedRoot((id) => shipping.shipsPartition(id))
}
