/** `sys/replication/:kind/promotion-receipts` and `…/unreplicated`: what a promotion may have lost, and what a former primary kept of it. */
import { BackendError, type BackendRequest, type BackendResponse, field, type Path, path } from '@lockstep/backend'
import type { CoreBackendRequest } from '../../contracts.ts'
import type { Consent } from '../consent/dr-authorization.ts'
import type { ReplicationManager } from '../manager.ts'
import type { ReplicationKind } from '../role-records.ts'
import { shownEntry, shownSet, type Unreplicated } from '../unreplicated/unreplicated.ts'
import { type PromotedBy, shownReceipt } from './receipts.ts'

type ReceiptManager = Pick<ReplicationManager, 'receipts' | 'unreplicated'>
type DrConsent = (
  request: Pick<BackendRequest, 'path' | 'data' | 'remoteAddress'> & { field: { dr_operation_token: string } },
) => Promise<unknown>

const KINDS: readonly ReplicationKind[] = ['performance', 'dr']
const PAGE = 100
const LARGEST_PAGE = 1000

/** Relative to sys/. */
export const receiptSudo: readonly string[] = KINDS.flatMap((kind) => [
  `replication/${kind}/unreplicated`,
  `replication/${kind}/unreplicated/*`,
])

/** Who promotes: the caller's token, or on a DR secondary what consented in its place. */
export function promotedBy(request: BackendRequest, consent: Consent | undefined): PromotedBy {
  const { remoteAddress } = request
  if (consent !== undefined) return { ...consent, remoteAddress }
  const entry = (request as CoreBackendRequest).token
  return { token: entry?.displayName ?? '', accessor: entry?.accessor ?? '', remoteAddress }
}

export function receiptPaths(manager: ReceiptManager, consent: DrConsent): Path[] {
  return [
    ...KINDS.flatMap((kind) => [...promotionPaths(manager, kind), ...setPaths(manager.unreplicated, kind)]),
    ...drPaths(manager.unreplicated, consent),
  ]
}

function promotionPaths({ receipts }: ReceiptManager, kind: ReplicationKind): Path[] {
  const prefix = `replication/${kind}/promotion-receipts`
  return [
    path(prefix, {
      operations: {
        read: async () => ({ data: { receipts: (await receipts.all(kind)).map(shownReceipt).reverse() } }),
      },
      help: 'The promotions this cluster knows of, newest first.',
    }),
    path(`${prefix}/:epoch`, {
      operations: {
        read: async ({ params }) => {
          const epoch = Number(params.epoch)
          if (!Number.isSafeInteger(epoch) || epoch < 0) throw bad('epoch', 'a whole number')
          const receipt = await receipts.read(kind, epoch)
          return receipt && { data: shownReceipt(receipt) }
        },
      },
      help: 'The promotion that began an epoch.',
    }),
  ]
}

const pageFields = { after: field.string({ default: '' }), limit: field.int({ default: PAGE }) }
const entryFields = { index: field.int({ default: 0 }), key: field.string({ default: '' }) }
const consentField = { dr_operation_token: field.string({ default: '' }) }

function setPaths(sets: ReceiptManager['unreplicated'], kind: ReplicationKind): Path[] {
  const prefix = `replication/${kind}/unreplicated`
  return [
    path(prefix, {
      operations: { read: () => listing(sets, kind), list: () => listing(sets, kind) },
      help: 'Sets of writes that this cluster acknowledged as primary and that were never replicated.',
    }),
    path(`${prefix}/:id`, {
      fields: pageFields,
      operations: {
        read: ({ params, field }) => page(sets, kind, params.id, field),
        delete: async ({ params }) => {
          await sets.delete(kind, params.id)
          return undefined
        },
      },
      help: 'The storage keys of a set, in the order of the log. No values.',
    }),
    path(`${prefix}/:id/entry`, {
      fields: entryFields,
      operations: { read: ({ params, field }) => entry(sets, kind, params.id, field) },
      help: 'One value of a set, decrypted.',
    }),
  ]
}

/** On a DR secondary, which knows no tokens of its own. */
function drPaths(sets: ReceiptManager['unreplicated'], consent: DrConsent): Path[] {
  const prefix = 'replication/dr/secondary/unreplicated'
  return [
    path(prefix, {
      fields: consentField,
      operations: {
        update: async (request) => {
          await consent(request)
          return listing(sets, 'dr')
        },
      },
    }),
    path(`${prefix}/:id`, {
      fields: { ...consentField, ...pageFields },
      operations: {
        update: async (request) => {
          await consent(request)
          return page(sets, 'dr', request.params.id, request.field)
        },
      },
    }),
    path(`${prefix}/:id/entry`, {
      fields: { ...consentField, ...entryFields },
      operations: {
        update: async (request) => {
          await consent(request)
          return entry(sets, 'dr', request.params.id, request.field)
        },
      },
    }),
    path(`${prefix}/:id/delete`, {
      fields: consentField,
      operations: {
        update: async (request) => {
          await consent(request)
          await sets.delete('dr', request.params.id)
          return undefined
        },
      },
    }),
  ]
}

type Sets = Pick<Unreplicated, 'list' | 'read' | 'entries' | 'value'>

async function listing(sets: Sets, kind: ReplicationKind): Promise<BackendResponse> {
  const found = await sets.list(kind)
  return { data: { keys: found.map(({ id }) => id), sets: found.map(shownSet) } }
}

async function page(
  sets: Sets,
  kind: ReplicationKind,
  id: string,
  { after, limit }: { after: string; limit: number },
): Promise<BackendResponse | undefined> {
  if (!Number.isInteger(limit) || limit < 1 || limit > LARGEST_PAGE) throw bad('limit', `1 to ${LARGEST_PAGE}`)
  const set = await sets.read(kind, id)
  if (set === undefined) return undefined
  const { entries, next } = await sets.entries(kind, id, { after, limit })
  return { data: { ...shownSet(set), keys: entries.map(shownEntry), next } }
}

async function entry(
  sets: Sets,
  kind: ReplicationKind,
  id: string,
  { index, key }: { index: number; key: string },
): Promise<BackendResponse | undefined> {
  if (!Number.isSafeInteger(index) || index < 0) throw bad('index', 'a whole number')
  if (key === '') throw bad('key', 'a storage key of the set')
  const value = await sets.value(kind, id, { index, key })
  return value && { data: { index, key, value: Buffer.from(value).toString('base64') } }
}

function bad(name: string, expected: string): BackendError {
  return new BackendError('BACKEND_INVALID_REQUEST', `${name}: expected ${expected}`)
}
