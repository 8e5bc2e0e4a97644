import { type PathSet, pathSet } from './special-paths.ts'

/** The sys/ answers whose data keys Vault repeats at top level (core-api.md, section 1). */
const injected: PathSet = pathSet([
  'sys/audit',
  'sys/audit/*',
  'sys/audit-hash/*',
  'sys/auth',
  'sys/auth/*',
  'sys/capabilities',
  'sys/capabilities-accessor',
  'sys/capabilities-self',
  'sys/config/auditing/request-headers',
  'sys/config/auditing/request-headers/*',
  'sys/config/cors',
  'sys/ha-status',
  'sys/key-status',
  'sys/mounts',
  'sys/mounts/*',
  'sys/policy',
  'sys/policy/*',
  'sys/remount',
  'sys/rotate',
  'sys/wrapping/wrap',
])

export function injectsData(path: string): boolean {
  return path.startsWith('sys/') && injected(path.endsWith('/') ? path.slice(0, -1) : path)
}
