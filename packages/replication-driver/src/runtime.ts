/** Time and chance, as everything in this package takes them, so that a simulation can give its own. */
import { randomBytes } from 'node:crypto'

export interface Runtime {
  /** Wall clock, ms since the epoch. */
  now(): number
  /** Calls once after `ms`. Returns a function that prevents it. */
  after(ms: number, run: () => void, options?: TimerOptions): () => void
  /** Calls every `ms` until the function it returns is called. */
  every(ms: number, run: () => void): () => void
  /** Calls when everything that is ready by now has had its turn. */
  nextTurn(run: () => void): void
  /** From 0 up to, not including, 1. */
  random(): number
  /** Unpredictable bytes. */
  randomBytes(length: number): Uint8Array
}

export interface TimerOptions {
  /** The timer does not keep the process alive. Default false. */
  background?: boolean
}

// Taken at load so that fake timers of a test cannot stop commits.
const systemNextTurn: (run: () => void) => void = setImmediate

export const systemRuntime: Runtime = {
  now: () => Date.now(),
  after(ms, run, options = {}) {
    const timer = setTimeout(run, ms)
    if (options.background) timer.unref()
    return () => clearTimeout(timer)
  },
  every(ms, run) {
    const timer = setInterval(run, ms)
    return () => clearInterval(timer)
  },
  nextTurn: systemNextTurn,
  random: () => Math.random(),
  randomBytes: (length) => randomBytes(length),
}
