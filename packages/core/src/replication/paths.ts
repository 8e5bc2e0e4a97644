/** `sys/replication/*`: fields, operations and answers. What they do is the manager's. */
import { BackendError, type BackendRequest, type BackendResponse, field, type Path, path } from '@lockstep/backend'
import type { CoreBackendResponse } from '../contracts.ts'
import type { Consent } from './consent/dr-authorization.ts'
import { diagnosticsPaths } from './diagnostics/diagnostics-paths.ts'
import { dryRun, inspectPaths } from './inspect/inspect-paths.ts'
import { isDrSecondary, maintenancePaths } from './maintenance/maintenance-paths.ts'
import type { MountFilterView, ReplicationManager } from './manager.ts'
import { promotedBy, receiptPaths } from './promotion/receipt-paths.ts'
import type { ReplicationKind } from './role-records.ts'

const DEFAULT_TOKEN_TTL_SECONDS = 30 * 60

const changing = (what: string): BackendResponse => ({
  warnings: [
    `This cluster is being ${what}. Vault will be unavailable for a brief period and will resume service shortly.`,
  ],
  status: 200,
})
const bootstrapping =
  'Vault has successfully found secondary information; it may take a while to perform setup tasks. Vault will be unavailable until these tasks and initial sync complete.'

/** Mutating paths need a token; on a DR secondary they are reached without one and ask for `dr_operation_token`. */
export function replicationPaths(manager: ReplicationManager): Path[] {
  const status = path('replication/status', {
    operations: {
      read: async () => ({
        data: { performance: await manager.status('performance'), dr: await manager.status('dr') },
      }),
    },
  })
  const consented = async (request: Parameters<typeof consent>[2]): Promise<void> => {
    await consent(manager, 'dr', request)
  }
  return [
    status,
    ...rolePaths(manager, 'performance', 'replication/performance/'),
    ...rolePaths(manager, 'dr', 'replication/dr/'),
    ...rolePaths(manager, 'performance', 'replication/').filter(
      ({ pattern }) => !/\/(?:status|generate-public-key)$/.test(pattern),
    ),
    ...filterPaths(manager),
    ...diagnosticsPaths(manager, consented),
    ...maintenancePaths(manager, consented),
    ...inspectPaths(manager, consented),
    ...receiptPaths(manager, consented),
    path('replication/dr/secondary/operation-token/delete', {
      fields: { dr_operation_token: field.string({ required: true }) },
      operations: {
        update: async (request) => {
          await consent(manager, 'dr', request)
          await manager.deleteOperationToken()
          return undefined
        },
      },
    }),
  ]
}

function rolePaths(manager: ReplicationManager, kind: ReplicationKind, prefix: string): Path[] {
  return [
    path(`${prefix}status`, { operations: { read: async () => ({ data: await manager.status(kind) }) } }),
    ...primaryPaths(manager, kind, `${prefix}primary/`),
    ...secondaryPaths(manager, kind, `${prefix}secondary/`),
  ]
}

function primaryPaths(manager: ReplicationManager, kind: ReplicationKind, prefix: string): Path[] {
  return [
    path(`${prefix}enable`, {
      fields: { primary_cluster_addr: field.string({ default: '' }) },
      operations: {
        update: async ({ field }) => {
          await manager.enablePrimary(kind, field.primary_cluster_addr)
          return changing('enabled as a primary for replication')
        },
      },
    }),
    path(`${prefix}demote`, {
      operations: {
        update: async () => {
          await manager.demotePrimary(kind)
          return changing('demoted to a replication secondary')
        },
      },
    }),
    path(`${prefix}disable`, {
      operations: {
        update: async () => {
          await manager.disablePrimary(kind)
          return changing('disabled as a replication primary')
        },
      },
    }),
    path(`${prefix}secondary-token`, {
      fields: {
        id: field.string({ required: true }),
        ttl: field.duration({ default: DEFAULT_TOKEN_TTL_SECONDS }),
        secondary_public_key: field.string({ default: '' }),
      },
      operations: {
        update: async ({ field }): Promise<CoreBackendResponse> => {
          const { id, ttl, secondary_public_key: publicKey } = field
          if (ttl <= 0) throw new BackendError('BACKEND_INVALID_REQUEST', 'ttl: expected more than 0 seconds')
          const issued = await manager.secondaryToken(kind, { id, ttl, publicKey })
          return 'sealed' in issued ? { data: { token: issued.sealed } } : issued
        },
      },
    }),
    path(`${prefix}revoke-secondary`, {
      fields: { id: field.string({ required: true }) },
      operations: {
        update: async ({ field }) => {
          await manager.revokeSecondary(kind, field.id)
          return { status: 200 }
        },
      },
    }),
  ]
}

const upstreamFields = {
  token: field.string({ default: '' }),
  primary_api_addr: field.string({ default: '' }),
  ca_file: field.string({ default: '' }),
  ca_path: field.string({ default: '' }),
  client_cert_pem: field.string({ default: '' }),
  client_key_pem: field.string({ default: '' }),
  dr_operation_token: field.string({ default: '' }),
}

function secondaryPaths(manager: ReplicationManager, kind: ReplicationKind, prefix: string): Path[] {
  return [
    path(`${prefix}enable`, {
      fields: upstreamFields,
      operations: {
        update: async ({ field }) => {
          if (field.token === '')
            throw new BackendError('BACKEND_INVALID_REQUEST', 'token: expected a secondary activation token')
          await manager.enableSecondary(kind, upstream(field))
          return { warnings: [bootstrapping], status: 200 }
        },
      },
    }),
    path(`${prefix}generate-public-key`, {
      fields: { dr_operation_token: field.string({ default: '' }) },
      operations: {
        update: async (request) => {
          // To follow another primary: on a DR secondary only the operators' consent lets anyone in.
          if (kind === 'dr' && isDrSecondary(manager)) await consent(manager, kind, request)
          return { data: { secondary_public_key: await manager.generatePublicKey(kind) } }
        },
      },
    }),
    path(`${prefix}promote`, {
      fields: {
        primary_cluster_addr: field.string({ default: '' }),
        force: field.bool({ default: false }),
        dry_run: field.bool({ default: false }),
        dr_operation_token: field.string({ default: '' }),
      },
      operations: {
        update: async (request) => {
          const { field } = request
          const by = promotedBy(request, await consent(manager, kind, request))
          if (field.dry_run) return { data: await manager.previewPromotion(kind) }
          const { primary_cluster_addr: primaryClusterAddr, force } = field
          await manager.promoteSecondary(kind, { primaryClusterAddr, force, by })
          return changing('promoted to a replication primary')
        },
      },
    }),
    path(`${prefix}disable`, {
      fields: { dr_operation_token: field.string({ default: '' }) },
      operations: {
        update: async (request) => {
          await consent(manager, kind, request)
          await manager.disableSecondary(kind)
          return changing('disabled as a replication secondary')
        },
      },
    }),
    path(`${prefix}update-primary`, {
      fields: { ...upstreamFields, update_primary_addrs: field.commaStringList({ default: [] }) },
      operations: {
        update: async (request) => {
          const { field, data } = request
          await consent(manager, kind, request)
          const updatePrimaryAddrs = field.update_primary_addrs.length > 0 ? field.update_primary_addrs : undefined
          if (updatePrimaryAddrs === undefined && data.token === undefined) {
            throw new BackendError('BACKEND_INVALID_REQUEST', 'token or update_primary_addrs: one of them is required')
          }
          if (updatePrimaryAddrs !== undefined && field.token !== '') {
            throw new BackendError('BACKEND_INVALID_REQUEST', 'token and update_primary_addrs cannot be given together')
          }
          await manager.updatePrimary(kind, { ...upstream(field), updatePrimaryAddrs })
          return { warnings: [bootstrapping], status: 200 }
        },
      },
    }),
  ]
}

function filterPaths(manager: ReplicationManager): Path[] {
  const answer = (view: MountFilterView | undefined): BackendResponse | undefined =>
    view && {
      data: { dynamic_filtered_mounts: view.mounts, dynamic_filtered_namespaces: view.namespaces },
      ...(view.warnings === undefined ? {} : { warnings: view.warnings }),
    }
  return [
    path('replication/performance/primary/paths-filter/:id', {
      fields: {
        mode: field.string({ default: 'allow' }),
        paths: field.commaStringList({ default: [] }),
        dry_run: field.bool({ default: false }),
      },
      operations: {
        read: async ({ params }) => {
          const filter = await manager.filter(params.id)
          return filter && { data: { mode: filter.mode, paths: filter.paths } }
        },
        update: async ({ params, field, data }) => {
          // Without it, "allow" and no path would withhold everything.
          if (data.paths === undefined) {
            throw new BackendError('BACKEND_INVALID_REQUEST', 'paths: expected a list of mount paths')
          }
          if (field.dry_run) return { data: dryRun(params.id, manager.inspector.preview(params.id, field)) }
          await manager.setFilter(params.id, { mode: field.mode, paths: field.paths })
          return undefined
        },
        delete: async ({ params, field }) => {
          if (field.dry_run) return { data: dryRun(params.id, manager.inspector.preview(params.id, undefined)) }
          await manager.deleteFilter(params.id)
          return undefined
        },
      },
    }),
    path('replication/performance/primary/dynamic-filter/:id', {
      operations: { read: async ({ params }) => answer(await manager.dynamicFilter(params.id)) },
    }),
    path('replication/performance/secondary/dynamic-filter/:id', {
      operations: { read: async ({ params }) => answer(await manager.filterHere(params.id)) },
    }),
  ]
}

function upstream(values: Record<Exclude<keyof typeof upstreamFields, 'dr_operation_token'>, string>) {
  return {
    token: values.token,
    primaryApiAddr: values.primary_api_addr,
    caFile: values.ca_file,
    caPath: values.ca_path,
    clientCertPem: values.client_cert_pem,
    clientKeyPem: values.client_key_pem,
  }
}

async function consent(
  manager: ReplicationManager,
  kind: ReplicationKind,
  request: Pick<BackendRequest, 'path' | 'data' | 'remoteAddress'> & { field: { dr_operation_token: string } },
): Promise<Consent | undefined> {
  if (kind !== 'dr') return undefined
  if (!isDrSecondary(manager)) throw new BackendError('BACKEND_INVALID_REQUEST', 'Not a DR secondary.')
  const { dr_operation_token: token } = request.field
  if (token === '')
    throw new BackendError('BACKEND_INVALID_REQUEST', 'dr_operation_token: expected a DR operation token')
  const { dr_operation_token: _, ...data } = request.data
  const asked = { path: `sys/${request.path}`, data, remoteAddress: request.remoteAddress }
  const consented = await manager.checkOperationToken(token, asked)
  if (consented === undefined) throw new BackendError('BACKEND_PERMISSION_DENIED', 'permission denied')
  return consented
}
