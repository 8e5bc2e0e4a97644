/**
 * Lets requests through while services run, waits for those under way before services stop, and during a change of role holds
 * new ones back for a moment instead of refusing them.
 */
import { CoreError, type CoreRequest, type CoreResponse } from '../contracts.ts'
import type { Services } from './services.ts'

const DRAIN_MS = 10_000
const HOLD_MS = 10_000
const MAX_HELD = 1000

export interface RequestGate {
  handle(request: CoreRequest): Promise<CoreResponse>
  open(services: Services): void
  /**
   * From now on requests are refused with `reason`; with `hold` up to a thousand of them wait first, ten seconds at most, for the
   * gate to open again. Resolves when none is under way, or after ten seconds.
   */
  close(reason: CoreError, options?: { hold?: boolean }): Promise<void>
}

export function requestGate(): RequestGate {
  let services: Services | undefined
  let reason = new CoreError('CORE_SEALED', 'Vault is sealed')
  let holding = false
  let underWay = 0
  let drained: (() => void) | undefined
  const held = new Set<() => void>()

  /** Resolves when the gate has opened, or has closed for good, or after `HOLD_MS`. */
  function wait(): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        held.delete(done)
        resolve()
      }
      const timer = setTimeout(done, HOLD_MS)
      held.add(done)
    })
  }

  function release(): void {
    for (const done of [...held]) done()
  }

  function pass(to: Services, request: CoreRequest): Promise<CoreResponse> {
    underWay++
    return to.handle(request).finally(() => {
      underWay--
      if (underWay === 0) drained?.()
    })
  }

  return {
    async handle(request) {
      if (services === undefined && holding && held.size < MAX_HELD) await wait()
      if (services === undefined) throw reason
      return pass(services, request)
    },
    open(next) {
      services = next
      holding = false
      release()
    },
    async close(why, { hold = false } = {}) {
      services = undefined
      reason = why
      holding = hold
      if (!hold) release()
      if (underWay === 0) return
      let timer: NodeJS.Timeout | undefined
      await new Promise<void>((resolve) => {
        drained = resolve
        timer = setTimeout(resolve, DRAIN_MS)
      })
      clearTimeout(timer)
      drained = undefined
    },
  }
}
