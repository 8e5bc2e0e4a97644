/**
 * What is wrong with this cluster's replication, and what to do about it. Facts in, findings out; the probing of addresses is done
 * before. Every check is always reported, so that "ok" is an answer too and a tool can derive its exit status from the worst one.
 */

import type { ReplicationKind } from '../role-records.ts'

export type CheckName =
  | 'role'
  | 'address'
  | 'certificate'
  | 'protocol'
  | 'clock'
  | 'log'
  | 'filter'
  | 'storage'
  | 'lag'
  | 'repair'
  | 'epoch'
  | 'nodes'
export type CheckStatus = 'ok' | 'warning' | 'critical'

export interface Check {
  check: CheckName
  /** Of which role; "" for what concerns the cluster. */
  kind: ReplicationKind | ''
  /** The address, secondary or node it is about; "" for this cluster. */
  subject: string
  status: CheckStatus
  /** One word for tools; "" when the status is ok. */
  cause: string
  detail: string
  remedy: string
}

export interface Diagnosis {
  /** The worst of the checks. */
  status: CheckStatus
  /** 0 ok, 1 warning, 2 critical: what a command line tool exits with. */
  exit_status: 0 | 1 | 2
  /** RFC 3339. */
  time: string
  checks: Check[]
}

/** Thresholds, ms unless said otherwise. */
export const LIMITS = {
  clockWarning: 5_000,
  clockCritical: 60_000,
  lagWarning: 10_000,
  lagCritical: 60_000,
  canaryWarning: 15_000,
  canaryCritical: 60_000,
  /** Vault's advice for its flush of the log. */
  slowWrite: 500,
  verySlowWrite: 5_000,
  heartbeatSilence: 15_000,
  /** Share of the log's cap that a consumer may hold back. */
  logWarning: 0.75,
  logCritical: 0.95,
  certificateWarning: 30 * 24 * 3_600_000,
} as const

export type Found = Omit<Check, 'kind' | 'subject'> & { kind?: ReplicationKind; subject?: string }

export function diagnosis(found: readonly Found[], now: number): Diagnosis {
  const checks = found.map((check): Check => ({ kind: '', subject: '', ...check }))
  const worst = checks.some(({ status }) => status === 'critical')
    ? 'critical'
    : checks.some(({ status }) => status === 'warning')
      ? 'warning'
      : 'ok'
  const exit = { ok: 0, warning: 1, critical: 2 } as const
  return { status: worst, exit_status: exit[worst], time: new Date(now).toISOString(), checks }
}

export const ok = (check: CheckName, detail: string, about: Pick<Found, 'kind' | 'subject'> = {}): Found => ({
  ...about,
  ...{ check, status: 'ok', cause: '', detail, remedy: '' },
})
