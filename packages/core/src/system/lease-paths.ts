import { type BackendResponse, field, type Path, path } from '@lockstep/backend'
import type { CoreBackendResponse, Lease, LeaseManager } from '../contracts.ts'
import type { SystemComponents } from './components.ts'
import { refused } from './mount-input.ts'

const leaseFields = {
  lease_id: field.string({ default: '', description: 'The lease.' }),
  increment: field.duration({ default: 0, description: 'Wished lifetime from now, seconds.' }),
}

/** sys/leases, with the older aliases sys/renew, sys/revoke, sys/revoke-prefix and sys/revoke-force. */
export function leasePaths({ leases, tokens, clock, log }: SystemComponents): Path[] {
  return [
    path('leases/lookup', {
      fields: leaseFields,
      operations: {
        update: async ({ field }) => ({ data: leaseInfo(await found(leases, field.lease_id), clock.now()) }),
        list: () => listing(leases, ''),
      },
      help: 'Facts about a lease; LIST walks the tree of leases.',
    }),
    path('leases/lookup/:prefix*', { operations: { list: ({ params }) => listing(leases, params.prefix) } }),
    ...['leases/renew', 'renew'].flatMap((name) =>
      idPaths(name, (id, increment) => renew(leases, id, increment, clock.now())),
    ),
    ...['leases/revoke', 'revoke'].flatMap((name) =>
      idPaths(name, async (id) => {
        if ((await leases.lookup(id)) !== undefined) await leases.revoke(id)
        return undefined
      }),
    ),
    ...['leases/revoke-prefix/:prefix*', 'revoke-prefix/:prefix*'].map((name) => prefixPath(leases, name, false)),
    ...['leases/revoke-force/:prefix*', 'revoke-force/:prefix*'].map((name) => prefixPath(leases, name, true)),
    ...irrevocablePaths(leases),
    path('leases/tidy', {
      operations: {
        update: () => {
          tokens.tidy().catch((error) => log.error('tidy failed', { error: String(error?.message ?? error) }))
          const warning =
            "Tidy operation successfully started. Any information from the operation will be printed to Vault's server logs."
          return { warnings: [warning], status: 202 }
        },
      },
      help: 'Remove leases whose tokens are gone, and what points to them.',
    }),
  ]
}

/** `name` with the lease id in the body and `name/<id>` with it in the path. */
function idPaths(name: string, act: (id: string, increment: number) => Promise<BackendResponse | undefined>): Path[] {
  return [
    path(name, {
      fields: leaseFields,
      operations: { update: ({ field }) => act(required(field.lease_id), field.increment) },
    }),
    path(`${name}/:url_lease_id*`, {
      fields: leaseFields,
      operations: {
        update: ({ field, params }) =>
          act(required(field.lease_id || (params as { url_lease_id: string }).url_lease_id), field.increment),
      },
    }),
  ]
}

function prefixPath(leases: LeaseManager, name: string, force: boolean): Path {
  return path(name, {
    operations: {
      update: async ({ params }) => {
        await leases.revokePrefix((params as { prefix: string }).prefix, { force })
        return undefined
      },
    },
    help: force ? 'Forget every lease below a prefix, revoked or not.' : 'Revoke every lease below a prefix.',
  })
}

async function renew(leases: LeaseManager, id: string, increment: number, now: number): Promise<CoreBackendResponse> {
  const { lease, response, warnings } = await leases.renew(id, increment)
  return {
    ...(response?.data === undefined ? undefined : { data: response.data }),
    warnings: [...(response?.warnings ?? []), ...warnings],
    lease: {
      id: lease.id,
      renewable: lease.renewable,
      duration: Math.max(0, Math.floor((lease.expireTime - now) / 1000)),
    },
  }
}

async function listing(leases: LeaseManager, prefix: string): Promise<BackendResponse> {
  return { data: { keys: await leases.list(prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`) } }
}

async function found(leases: LeaseManager, id: string): Promise<Lease> {
  const lease = await leases.lookup(required(id))
  if (lease === undefined) throw refused('invalid lease')
  return lease
}

function required(id: string): string {
  if (id === '') throw refused('lease_id must be specified')
  return id
}

function leaseInfo(lease: Lease, now: number): Record<string, unknown> {
  return {
    id: lease.id,
    issue_time: new Date(lease.issueTime).toISOString(),
    expire_time: lease.expireTime === 0 ? null : new Date(lease.expireTime).toISOString(),
    last_renewal: lease.lastRenewal === 0 ? null : new Date(lease.lastRenewal).toISOString(),
    renewable: lease.renewable,
    ttl: lease.expireTime === 0 ? 0 : Math.max(0, Math.floor((lease.expireTime - now) / 1000)),
  }
}

/** What an operator must clean up by hand. Vault answers only with `type=irrevocable`. */
function irrevocablePaths(leases: SystemComponents['leases']): Path[] {
  const fields = { type: field.string({ default: '', description: 'irrevocable.' }) }

  async function given(type: string): Promise<{ id: string; error: string }[] | undefined> {
    return type === 'irrevocable' ? leases.irrevocable?.() : undefined
  }

  return [
    path('leases/count', {
      fields,
      operations: {
        read: async ({ field }) => {
          const found = await given(field.type)
          if (found === undefined) return undefined
          const counts: Record<string, number> = {}
          for (const { id } of found) {
            const mount = id.slice(0, id.indexOf('/') + 1)
            counts[mount] = (counts[mount] ?? 0) + 1
          }
          return { data: { lease_count: found.length, counts } }
        },
      },
      help: 'How many leases could not be revoked.',
    }),
    path('leases', {
      fields,
      operations: {
        read: async ({ field }) => {
          const found = await given(field.type)
          if (found === undefined) return undefined
          return {
            data: { lease_count: found.length, leases: found.map(({ id, error }) => ({ lease_id: id, error })) },
          }
        },
      },
      help: 'The leases that could not be revoked, and why.',
    }),
  ]
}
