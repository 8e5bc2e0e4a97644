import type { Log } from '../contracts.ts'

export interface Teardown {
  /** To be carried out by `run`, the last added first. */
  add(what: string, end: () => Promise<void> | void): void
  /** Every step, also after one has failed, which is logged. */
  run(): Promise<void>
}

/** What was started so far and how to end it, so that a start that fails half-way leaves nothing running. */
export function teardown(log: Log): Teardown {
  const steps: { what: string; end: () => Promise<void> | void }[] = []
  return {
    add: (what, end) => void steps.push({ what, end }),
    async run() {
      for (let step = steps.pop(); step !== undefined; step = steps.pop()) {
        try {
          await step.end()
        } catch (error) {
          log.error(`stopping ${step.what} failed`, { error: String(error) })
        }
      }
    },
  }
}
