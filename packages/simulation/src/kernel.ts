/** Virtual time: events in order of their time, and after each of them everything that became ready has its turn. */
import type { Runtime } from '@lockstep/replication-driver'
import { SimulationFailure } from './failure.ts'
import { type Random, seededRandom } from './random.ts'

/** A running program. What is scheduled by it ends with it. */
export interface Process {
  readonly name: string
  readonly alive: boolean
  readonly runtime: Runtime
  after(ms: number, run: () => void): () => void
  onKill(listener: () => void): void
  /** Ends it at once, between two instructions as far as it can tell: what it awaits never comes. */
  kill(): void
}

export interface Kernel {
  readonly random: Random
  now(): number
  /** Virtual ms since the start. */
  elapsed(): number
  at(delay: number, run: () => void): () => void
  process(name: string): Process
  /** A line of the story, part of the trace hash. */
  trace(line: string): void
  readonly lines: readonly string[]
  traceHash(): string
  readonly events: number
  /** The first failure ends the run. */
  fail(invariant: string, detail: string): void
  /** Resolves when `until` holds after an event; rejects with the first failure. */
  run(until: () => boolean): Promise<void>
}

interface Event {
  at: number
  order: number
  run: (() => void) | undefined
}

const START = 1_800_000_000_000
const KEPT_LINES = 400
/** More than any scenario needs: beyond it something goes round in circles. */
const MOST_EVENTS = 400_000

export function kernel(seed: number, options: { print?: ((line: string) => void) | undefined } = {}): Kernel {
  const random = seededRandom(seed)
  const queue = eventQueue()
  const lines: string[] = []
  let now = START
  let order = 0
  let events = 0
  let hash = 0
  let failure: unknown

  const at = (delay: number, run: () => void): (() => void) => {
    const event: Event = { at: now + Math.max(0, delay), order: order++, run }
    queue.push(event)
    return () => {
      event.run = undefined
    }
  }
  const mix = (value: number): void => {
    hash = Math.imul(hash ^ value, 0x01000193) ^ (hash >>> 15)
  }
  const failWith = (error: unknown): void => {
    failure ??= error
  }

  const kernel: Kernel = {
    random,
    now: () => now,
    elapsed: () => Math.round(now - START),
    at,
    process(name) {
      let alive = true
      const killed: (() => void)[] = []
      const after = (ms: number, run: () => void): (() => void) => at(ms, () => alive && run())
      const process: Process = {
        name,
        get alive() {
          return alive
        },
        after,
        onKill: (listener) => void killed.push(listener),
        kill() {
          if (!alive) return
          alive = false
          for (const listener of killed) listener()
        },
        runtime: {
          now: () => Math.floor(now),
          after,
          every(ms, run) {
            let cancel = (): void => {}
            const again = (): void => {
              cancel = after(ms, () => {
                again()
                run()
              })
            }
            again()
            return () => cancel()
          },
          nextTurn: (run) => void after(0, run),
          random: random.float,
          randomBytes: random.bytes,
        },
      }
      return process
    },
    trace(line) {
      const text = `${String(Math.round(now - START)).padStart(6)} ${line}`
      for (let i = 0; i < text.length; i++) mix(text.charCodeAt(i))
      options.print?.(text)
      lines.push(text)
      if (lines.length > KEPT_LINES * 2) lines.splice(0, KEPT_LINES)
    },
    lines,
    traceHash: () => `${(hash >>> 0).toString(16).padStart(8, '0')}-${events}`,
    get events() {
      return events
    },
    fail(invariant, detail) {
      failWith(new SimulationFailure(invariant, detail))
    },

    run(until) {
      return new Promise((resolve, reject) => {
        const next = (): void => {
          const event = queue.pop()
          if (event === undefined) throw new SimulationFailure('liveness', 'nothing is left to happen')
          if (event.run === undefined) return
          now = event.at
          mix(now)
          if (++events > MOST_EVENTS) throw new SimulationFailure('liveness', `${MOST_EVENTS} events`)
          event.run()
        }
        const step = (): void => {
          try {
            if (failure === undefined && until()) resolve()
            else if (failure === undefined) {
              next()
              // A microtask queues the next tick, which runs when no microtask is left: the whole turn, without the event loop.
              queueMicrotask(nextStep)
            } else reject(failure)
          } catch (error) {
            failWith(error)
            reject(failure)
          }
        }
        const nextStep = (): void => process.nextTick(step)
        queueMicrotask(nextStep)
      })
    },
  }
  return kernel
}

function eventQueue() {
  const heap: Event[] = []
  const before = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)
  return {
    push(event: Event): void {
      let at = heap.length
      heap.push(event)
      while (at > 0) {
        const up = (at - 1) >> 1
        if (!before(event, heap[up]!)) break
        heap[at] = heap[up]!
        at = up
      }
      heap[at] = event
    },
    pop(): Event | undefined {
      const top = heap[0]
      const last = heap.pop()
      if (last === undefined || heap.length === 0) return top
      let at = 0
      for (;;) {
        let down = 2 * at + 1
        if (down >= heap.length) break
        if (down + 1 < heap.length && before(heap[down + 1]!, heap[down]!)) down++
        if (!before(heap[down]!, last)) break
        heap[at] = heap[down]!
        at = down
      }
      heap[at] = last
      return top
    },
  }
}
