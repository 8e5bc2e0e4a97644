/** Why a node takes no requests now. */
import { CoreError } from '../contracts.ts'

export const sealed = (): CoreError => new CoreError('CORE_SEALED', 'Vault is sealed')
export const standby = (): CoreError => new CoreError('CORE_STANDBY', 'Vault is in standby mode')
export const changing = (): CoreError =>
  new CoreError('CORE_UNAVAILABLE', 'Vault is changing its replication role, try again shortly')
export const restoring = (): CoreError =>
  new CoreError('CORE_UNAVAILABLE', 'Vault is restoring a snapshot, try again shortly')
