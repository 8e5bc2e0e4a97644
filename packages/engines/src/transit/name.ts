import { BackendError } from '@lockstep/backend'

const pattern = /^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$/

/** A name Vault accepts for a key, or `unsupported path`. */
export function checkName(name: string): string {
  if (!pattern.test(name) || name.length > 512) throw new BackendError('BACKEND_UNSUPPORTED_PATH', 'unsupported path')
  return name
}
