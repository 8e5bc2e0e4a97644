/** `sys/replication/recover`: what a link does by itself in the end, done now. */
import { CoreError } from '../../contracts.ts'
import type { ReplicationKind, RoleMode } from '../role-records.ts'
import type { SecondaryRole } from '../secondary-role.ts'

export interface RecoverComponents {
  mode(kind: ReplicationKind): RoleMode
  secondary(kind: ReplicationKind): Pick<SecondaryRole, 'recover'> | undefined
}

/** What a secondary had to recover from. */
export type Recovery = 'detached' | 'dialled' | 'compared'

const DONE: Record<Recovery, string> = {
  detached: 'this secondary dials no primary; update-primary gives it one',
  dialled: 'there is no link to the primary; it is dialled now',
  compared: 'the link to the primary is up; what this cluster holds is compared with it now',
}

/** What was done, by kind, for people to read. Throws CORE_INVALID_REQUEST when replication is off. */
export function recover({ mode, secondary }: RecoverComponents): string[] {
  const done: string[] = []
  for (const kind of ['performance', 'dr'] as const) {
    const role = secondary(kind)
    if (role !== undefined) done.push(`${kind}: ${DONE[role.recover()]}`)
    else if (mode(kind) === 'primary') {
      done.push(`${kind}: a primary dials nobody, so there is nothing to retry; recover the secondary that has failed`)
    }
  }
  if (done.length === 0) throw new CoreError('CORE_INVALID_REQUEST', 'replication is not enabled on this cluster')
  return done
}
