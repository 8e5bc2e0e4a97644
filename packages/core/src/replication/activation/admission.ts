/** Which secondaries a primary has: one is admitted with the token it gets, and revoked. */
import { CoreError } from '../../contracts.ts'
import type { ReplicationManager } from '../manager.ts'
import type { PrimaryRole } from '../primary-role.ts'
import type { ReplicationKind, RoleRecords } from '../role-records.ts'
import type { IssueToken } from './secondary-tokens.ts'

export interface AdmissionComponents {
  records: Pick<RoleRecords, 'removeSecondary' | 'removeFenced'>
  /** Throws CORE_INVALID_REQUEST when the cluster is none. */
  primary(kind: ReplicationKind): PrimaryRole
  issueToken: IssueToken
}

export type Admission = Pick<ReplicationManager, 'secondaryToken' | 'revokeSecondary'>

export function admission({ records, primary, issueToken }: AdmissionComponents): Admission {
  return {
    async secondaryToken(kind, input) {
      const role = primary(kind)
      const fenced = role.fenced()
      if (fenced !== undefined) {
        const text = `epoch ${fenced.epoch} has begun elsewhere, says the secondary ${JSON.stringify(fenced.by)}: this primary is stale, demote it (or revoke that secondary)`
        throw new CoreError('CORE_UNAVAILABLE', text)
      }
      return issueToken(kind, role, input)
    },
    async revokeSecondary(kind, id) {
      const role = primary(kind)
      if (!role.known().some((known) => known.id === id))
        throw invalid(`id: no secondary has the id ${JSON.stringify(id)}`)
      await records.removeSecondary(kind, id)
      const fenced = role.fenced()
      role.revoke(id)
      if (fenced !== undefined && role.fenced() === undefined) await records.removeFenced(kind)
    },
  }
}

function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
