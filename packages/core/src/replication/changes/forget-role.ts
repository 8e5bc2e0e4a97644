/** What goes with a role when it ends. */
import type { Transaction } from '@lockstep/storage'
import { type ReplicationKind, roleKeys } from '../role-records.ts'

/** What belonged to having been primary or secondary, and to neither any more. */
export async function forgetRole(transaction: Transaction, kind: ReplicationKind): Promise<void> {
  await transaction.delete(roleKeys.fenced(kind))
  await transaction.delete(roleKeys.handover(kind))
  await transaction.delete(roleKeys.demotion(kind))
}

export async function forgetUpstream(transaction: Transaction, kind: ReplicationKind): Promise<void> {
  await forgetRole(transaction, kind)
  await transaction.delete(roleKeys.cursor(kind))
  await transaction.delete(roleKeys.addresses(kind))
  await transaction.delete(roleKeys.bootstrapping(kind))
  await transaction.delete(kind === 'dr' ? roleKeys.operationToken : roleKeys.followedEpoch)
}
