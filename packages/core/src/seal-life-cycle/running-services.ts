/** The services of a node that is active, and the gate before them. */
import type { CoreError } from '../contracts.ts'
import { sealed, standby } from './refusals.ts'
import type { RequestGate } from './request-gate.ts'
import type { Services, Unsealed } from './services.ts'
import type { UnsealedKeys } from './unsealed-keys.ts'

export interface RunningServicesComponents {
  keys: UnsealedKeys
  gate: RequestGate
  startServices(unsealed: Unsealed): Promise<Services>
}

/** One call of `start` or `stop` at a time: in the order of transitions. */
export interface RunningServices {
  /** Undefined unless they run. */
  readonly current: Services | undefined
  /** When they last started, ms since 1970; 0 before. */
  readonly activeSince: number
  /** Throws CORE_SEALED, and on a standby CORE_STANDBY. */
  demand(): void
  start(): Promise<void>
  /** `hold` as in `RequestGate`. `before` runs once no request is under way; they are stopped even when it fails. */
  stop(reason: CoreError, options?: StopOptions): Promise<void>
}

export interface StopOptions {
  hold?: boolean
  before?: () => Promise<void> | undefined
}

export function runningServices({ keys, gate, startServices }: RunningServicesComponents): RunningServices {
  let services: Services | undefined
  let activeSince = 0

  return {
    get current() {
      return services
    },
    get activeSince() {
      return activeSince
    },
    demand() {
      if (services === undefined) throw keys.present ? standby() : sealed()
    },
    async start() {
      services = await startServices(keys)
      activeSince = Date.now()
      gate.open(services)
    },
    async stop(reason, options = {}) {
      const stopping = services
      services = undefined
      await gate.close(reason, options)
      try {
        await options.before?.()
      } finally {
        await stopping?.stop()
      }
    },
  }
}
