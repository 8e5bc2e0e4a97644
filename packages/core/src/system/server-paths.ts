import { type Path, path } from '@lockstep/backend'
import type { CoreBackendResponse } from '../contracts.ts'
import type { SystemComponents } from './components.ts'

/** Facts about this server and its cluster. What a server cannot tell is not offered. */
export function serverPaths(components: SystemComponents): Path[] {
  const { haNodes, inFlight, metrics, sanitizedConfig, tokens, versionHistory } = components
  const paths = [
    path('internal/counters/tokens', {
      operations: {
        read: async () => ({ data: { counters: { service_tokens: { total: (await tokens.accessors()).length } } } }),
      },
      help: 'How many service tokens there are.',
    }),
    path('config/cors', {
      operations: { read: () => ({ data: { enabled: false } }) },
      help: 'Cross-origin requests are never allowed by this server.',
    }),
  ]
  if (haNodes !== undefined) {
    paths.push(path('ha-status', { operations: { read: async () => ({ data: { nodes: await haNodes() } }) } }))
  }
  if (sanitizedConfig !== undefined) {
    paths.push(path('config/state/sanitized', { operations: { read: () => ({ data: sanitizedConfig() }) } }))
  }
  if (inFlight !== undefined) {
    paths.push(path('in-flight-req', { operations: { read: (): CoreBackendResponse => ({ bare: inFlight() }) } }))
  }
  if (metrics !== undefined) {
    // The HTTP layer gives it the form that was asked for.
    paths.push(
      path('metrics', { operations: { read: async (): Promise<CoreBackendResponse> => ({ bare: await metrics() }) } }),
    )
  }
  if (versionHistory !== undefined) {
    paths.push(
      path('version-history', {
        operations: {
          list: async () => {
            const records = await versionHistory()
            const info = records.map(({ version, installed, buildDate }, index) => [
              version,
              {
                build_date: buildDate,
                previous_version: records[index - 1]?.version ?? null,
                timestamp_installed: new Date(installed).toISOString(),
              },
            ])
            return { data: { keys: records.map(({ version }) => version), key_info: Object.fromEntries(info) } }
          },
        },
      }),
    )
  }
  return paths
}
