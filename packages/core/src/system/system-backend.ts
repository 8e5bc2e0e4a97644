import { type Backend, pathBackend } from '@lockstep/backend'
import { auditPaths } from './audit-paths.ts'
import { auditedHeaderPaths } from './audited-headers.ts'
import { capabilityPaths } from './capability-paths.ts'
import { catalogPaths } from './catalog-paths.ts'
import type { SystemComponents } from './components.ts'
import { keyPaths } from './key-paths.ts'
import { leasePaths } from './lease-paths.ts'
import { mountPaths } from './mount-paths.ts'
import { policyPaths } from './policy-paths.ts'
import { remountPaths } from './remount-paths.ts'
import { serverPaths } from './server-paths.ts'
import { systemSudo, systemUnauthenticated } from './special.ts'
import { toolPaths } from './tool-paths.ts'
import { uiPaths } from './ui-paths.ts'
import { wrappingPaths } from './wrapping-paths.ts'

/** The backend of sys/: the paths with Vault's envelope. What runs while sealed, or without envelope, is the server's. */
export function systemBackend(components: SystemComponents): Backend {
  return pathBackend({
    type: 'system',
    special: {
      sudo: [...systemSudo, ...(components.extraSudo ?? [])],
      unauthenticated: [...systemUnauthenticated, ...(components.extraUnauthenticated ?? [])],
    },
    paths: [
      ...mountPaths(components),
      ...remountPaths(components),
      ...policyPaths(components),
      ...capabilityPaths(components),
      ...leasePaths(components),
      ...wrappingPaths(components),
      ...auditPaths(components),
      ...(components.auditedHeaders === undefined ? [] : auditedHeaderPaths(components.auditedHeaders)),
      ...uiPaths(components),
      ...keyPaths(components),
      ...toolPaths(components),
      ...catalogPaths(components),
      ...serverPaths(components),
      ...(components.extraPaths ?? []),
    ],
  })
}
