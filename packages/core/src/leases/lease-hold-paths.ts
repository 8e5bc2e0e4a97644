import { type Path, path } from '@lockstep/backend'
import type { LeaseHold } from './lease-hold.ts'

/** Relative to sys/. */
export const leaseHoldSudo: readonly string[] = ['leases/revocation-hold/confirm']

/** `sys/leases/revocation-hold`: whether revocation waits after a promotion or a restore, and its release. */
export function leaseHoldPaths(hold: LeaseHold): Path[] {
  return [
    path('leases/revocation-hold', {
      operations: {
        read: async () => {
          const state = hold.state()
          return {
            data: {
              held: state !== undefined,
              since: state === undefined ? '' : new Date(state.since).toISOString(),
              reason: state?.reason ?? '',
              expired_leases_waiting: state === undefined ? 0 : await hold.waiting(),
            },
          }
        },
      },
      help: 'Whether the revocation of expired leases is held after a promotion or a restore.',
    }),
    path('leases/revocation-hold/confirm', {
      operations: {
        update: async () => {
          await hold.release('an operator confirmed')
          return undefined
        },
      },
      help: 'Let expired leases be revoked again.',
    }),
  ]
}
