import {
  type AuditBroker,
  type AuditRecord,
  type Clock,
  CoreError,
  type CoreRequest,
  type CoreResponse,
  type Log,
  type RoutedMount,
} from '../contracts.ts'
import type { Access } from './authorization.ts'
import { multierror } from './request-error.ts'

/** Statuses that replication monitors poll; Vault never audits them. */
const unaudited = new Set(['sys/replication/status', 'sys/replication/performance/status', 'sys/replication/dr/status'])

export interface RequestAudit {
  /**
   * Before the backend sees the request. Synchronous when no device is enabled. Rejects with CORE_INTERNAL when no device took the
   * record: the request must not go on.
   */
  request(
    request: CoreRequest,
    mount: RoutedMount | undefined,
    access: Partial<Access>,
    error?: string,
  ): Promise<void> | void
  /** Before the client sees the response, likewise. */
  response(
    request: CoreRequest,
    mount: RoutedMount | undefined,
    access: Partial<Access>,
    outcome: { response?: CoreResponse; error?: string },
  ): Promise<void> | void
}

export function requestAudit(audit: AuditBroker, clock: Clock, log: Log): RequestAudit {
  function write(
    type: AuditRecord['type'],
    request: CoreRequest,
    mount: RoutedMount | undefined,
    access: Partial<Access>,
    outcome: { response?: CoreResponse; error?: string },
  ): Promise<void> | void {
    if (unaudited.has(request.path)) return
    const { operation, token, decision } = access
    const record: AuditRecord = {
      type,
      time: clock.now(),
      request: operation === undefined || operation === request.operation ? request : { ...request, operation },
    }
    if (token !== undefined) record.token = token
    if (decision !== undefined) record.decision = decision
    if (mount !== undefined) record.mount = mountFacts(mount)
    if (outcome.response !== undefined) record.response = outcome.response
    if (outcome.error !== undefined) record.error = outcome.error
    const written = audit.write(record)
    return written?.catch((cause) => {
      log.error(`failed to audit ${type}`, { request: request.id, error: String(cause?.message ?? cause) })
      throw new CoreError('CORE_INTERNAL', multierror('internal error'), { cause })
    })
  }

  return {
    request: (request, mount, access, error) =>
      write('request', request, mount, access, error === undefined ? {} : { error }),
    response: (request, mount, access, outcome) => write('response', request, mount, access, outcome),
  }
}

const facts = new WeakMap<RoutedMount['entry'], NonNullable<AuditRecord['mount']>>()

function mountFacts(mount: RoutedMount): NonNullable<AuditRecord['mount']> {
  let known = facts.get(mount.entry)
  if (known === undefined || known.point !== mount.point) {
    const { type, accessor, table } = mount.entry
    known = { point: mount.point, type, accessor, class: table }
    facts.set(mount.entry, known)
  }
  return known
}
