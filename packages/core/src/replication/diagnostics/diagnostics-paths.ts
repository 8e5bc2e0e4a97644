/** `sys/replication/diagnostics`: what is wrong, why, and what to do; for `lockstep replication doctor` and for monitoring. */
import { type BackendRequest, field, type Path, path } from '@lockstep/backend'
import type { Diagnostician } from './diagnostics-roles.ts'

export interface DiagnosticsManager {
  readonly diagnostician: Diagnostician
}

/** Checks the DR operation token in the request; rejects when it does not hold. */
type Consent = (
  request: Pick<BackendRequest, 'path' | 'data' | 'remoteAddress'> & { field: { dr_operation_token: string } },
) => Promise<void>

export function diagnosticsPaths({ diagnostician }: DiagnosticsManager, consent: Consent): Path[] {
  const answer = async () => ({ data: { ...(await diagnostician.diagnose()) } })
  return [
    path('replication/diagnostics', { operations: { read: answer } }),
    path('replication/dr/secondary/diagnostics', {
      fields: { dr_operation_token: field.string({ default: '' }) },
      operations: {
        update: async (request) => {
          await consent(request)
          return answer()
        },
      },
    }),
  ]
}
