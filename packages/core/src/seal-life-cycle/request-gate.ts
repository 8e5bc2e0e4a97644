/** Lets requests through while services run, and waits for those under way before services stop. */
import { CoreError, type CoreRequest, type CoreResponse } from '../contracts.ts'
import type { Services } from './services.ts'

const DRAIN_MS = 10_000

export interface RequestGate {
  handle(request: CoreRequest): Promise<CoreResponse>
  open(services: Services): void
  /** From now on requests are refused with `reason`; resolves when none is under way, or after ten seconds. */
  close(reason: CoreError): Promise<void>
}

export function requestGate(): RequestGate {
  let services: Services | undefined
  let reason = new CoreError('CORE_SEALED', 'Vault is sealed')
  let underWay = 0
  let drained: (() => void) | undefined
  return {
    handle(request) {
      if (services === undefined) return Promise.reject(reason)
      underWay++
      return services.handle(request).finally(() => {
        underWay--
        if (underWay === 0) drained?.()
      })
    },
    open(next) {
      services = next
    },
    async close(why) {
      services = undefined
      reason = why
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
