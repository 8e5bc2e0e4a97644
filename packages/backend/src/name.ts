import { BackendError } from './types.ts'

const pattern = /^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$/
const maxLength = 512

/**
 * A name that Vault accepts for a key, role or user: word characters, with "." and "-" inside.
 *
 * @throws BackendError `unsupported path`, as if no pattern had matched
 */
export function checkedName(name: string): string {
  if (pattern.test(name) && name.length <= maxLength) return name
  throw new BackendError('BACKEND_UNSUPPORTED_PATH', 'unsupported path')
}
