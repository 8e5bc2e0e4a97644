/**
 * A cluster's two replication roles as stored. The performance role is class `local`, so that a DR secondary holds it and
 * carries it on when promoted; the DR role is `ignored` and stays where it is. Every secondary and every filter is a record of
 * its own.
 */
import { readJson, writeJson } from '@lockstep/backend'
import type { ReplicationCa } from '@lockstep/bootstrap'
import type { Store, Transaction } from '@lockstep/storage'
import type { CursorRecord } from './promotion/cursor-record.ts'
import type { FencedRecord } from './promotion/fencing.ts'
import type { HandoverRecord, HandoverResult } from './promotion/handover.ts'
import { type AddressRecord, readAddressRecord } from './resolver/address-book.ts'

export type ReplicationKind = 'performance' | 'dr'
export type RoleMode = 'disabled' | 'primary' | 'secondary'

/** Credentials of one end, PEM. */
export interface EndCredentials {
  caCertificate: string
  certificate: string
  privateKey: string
}

export type RoleRecord =
  | { mode: 'disabled' }
  | {
      mode: 'primary'
      /** The replication set's id, equal on both ends. */
      clusterId: string
      /** Address given to secondaries; "" = this node's cluster_addr. */
      primaryClusterAddr: string
      ca: ReplicationCa
      server: EndCredentials
      enabledAt: number
    }
  | {
      mode: 'secondary'
      clusterId: string
      secondaryId: string
      /** Addresses to dial, best first; empty = dials nobody (detached or demoted). */
      primaryClusterAddrs: string[]
      /** As of the activation; the primary tells of a newer one over the link. Absent when it was demoted. */
      primaryApiAddr?: string
      credentials: EndCredentials | null
      enabledAt: number
      /** It was the primary of the set: where its own log ended when it was demoted. Kept while it is a secondary. */
      led?: CursorRecord
    }

export type PrimaryRecord = Extract<RoleRecord, { mode: 'primary' }>
export type SecondaryRecord = Extract<RoleRecord, { mode: 'secondary' }>

/** It dials nobody: it was demoted, or pointed away from its primary. */
export function isDetached({ credentials, primaryClusterAddrs }: SecondaryRecord): boolean {
  return credentials === null || primaryClusterAddrs.length === 0
}

/** Where the log ended of a demoted primary that has not followed another since; undefined for any other secondary. */
export function demotedAt({ credentials, led }: SecondaryRecord): CursorRecord | undefined {
  return credentials === null ? led : undefined
}

/** A secondary known to the primary, from its activation token until it is revoked. Ids hold no slash (see `@lockstep/bootstrap`). */
export interface KnownSecondary {
  id: string
  /** SHA-256 of its certificate (DER), hex. */
  fingerprint: string
  issuedAt: number
  /** Of one activated by public key: until when (ms) it may fetch the keyring, once. */
  sealedActivation?: { expires: number; redeemed: boolean }
}

export interface FilterRecord {
  mode: 'allow' | 'deny'
  paths: string[]
}

const base = { performance: 'core/cluster/replicated/', dr: 'core/cluster/replicated-dr/' } as const

export const roleKeys = {
  info: (kind: ReplicationKind): string => `${base[kind]}info`,
  secondaries: (kind: ReplicationKind): string => `${base[kind]}secondaries/`,
  /** Only performance secondaries are filtered. */
  filters: 'core/cluster/replicated/filters/',
  /** Where the follower keeps how far it came; not part of the role, hence `ignored`. */
  cursor: (kind: ReplicationKind): string => `core/replication/cursor/${kind}`,
  /** Primary addresses heard over the link. */
  addresses: (kind: ReplicationKind): string => `core/primary-addrs/${kind === 'dr' ? 'dr' : 'perf'}`,
  operationToken: 'core/replication/dr-operation-token',
  /** Goes to the DR secondary, as the position does not. */
  followedEpoch: 'core/cluster/replicated/followed-epoch',
  /** Like the role they belong to: those of performance promotions go to the DR secondary. */
  receipts: (kind: ReplicationKind): string => `${base[kind]}receipts/`,
  /** There while the first sync after an activation is not known to be over. */
  bootstrapping: (kind: ReplicationKind): string => `core/replication/bootstrapping/${kind}`,
  /** What the primary said was its last record. */
  handover: (kind: ReplicationKind): string => `core/replication/handover/${kind}`,
  /** How far each secondary came when this cluster was demoted. */
  demotion: (kind: ReplicationKind): string => `core/replication/demotion/${kind}`,
  /** The later epoch that a secondary of this primary has followed. */
  fenced: (kind: ReplicationKind): string => `core/replication/fenced/${kind}`,
  unreplicated: (kind: ReplicationKind): string => `core/replication/unreplicated/${kind}/`,
}

type Storage = Pick<Store | Transaction, 'get' | 'put' | 'delete' | 'list'>

export interface RoleRecords {
  role(kind: ReplicationKind): Promise<RoleRecord>
  saveRole(kind: ReplicationKind, record: RoleRecord): Promise<void>
  secondaries(kind: ReplicationKind): Promise<KnownSecondary[]>
  secondary(kind: ReplicationKind, id: string): Promise<KnownSecondary | undefined>
  saveSecondary(kind: ReplicationKind, secondary: KnownSecondary): Promise<void>
  removeSecondary(kind: ReplicationKind, id: string): Promise<void>
  /** By id of the secondary, which may not exist yet. */
  filters(): Promise<Map<string, FilterRecord>>
  saveFilter(id: string, filter: FilterRecord): Promise<void>
  removeFilter(id: string): Promise<void>
  /** What the primary told of its nodes; undefined when nothing was stored. */
  heardAddresses(kind: ReplicationKind): Promise<AddressRecord | undefined>
  saveHeardAddresses(kind: ReplicationKind, record: AddressRecord): Promise<void>
  bootstrapping(kind: ReplicationKind): Promise<boolean>
  handover(kind: ReplicationKind): Promise<HandoverRecord | undefined>
  saveHandover(kind: ReplicationKind, handover: HandoverRecord): Promise<void>
  demotion(kind: ReplicationKind): Promise<HandoverResult[]>
  saveDemotion(kind: ReplicationKind, results: readonly HandoverResult[]): Promise<void>
  fenced(kind: ReplicationKind): Promise<FencedRecord | undefined>
  saveFenced(kind: ReplicationKind, record: FencedRecord): Promise<void>
  removeFenced(kind: ReplicationKind): Promise<void>
  /** The highest that was followed in the performance set; 0 = none is known. */
  followedEpoch(): Promise<number>
  saveFollowedEpoch(epoch: number): Promise<void>
  /** Forgets the set: its secondaries and filters. */
  clear(kind: ReplicationKind): Promise<void>
}

/** `storage` is the barrier (whole view) or a transaction of it. */
export function roleRecords(storage: Storage): RoleRecords {
  const read = <T>(key: string): Promise<T | undefined> => readJson(storage, key) as Promise<T | undefined>
  const write = (key: string, value: unknown): Promise<void> => writeJson(storage, key, value)
  const names = (prefix: string): Promise<string[]> => storage.list(prefix)
  return {
    role: async (kind) => (await read<RoleRecord>(roleKeys.info(kind))) ?? { mode: 'disabled' },
    saveRole: (kind, record) => write(roleKeys.info(kind), record),
    followedEpoch: async () => (await read<{ epoch: number }>(roleKeys.followedEpoch))?.epoch ?? 0,
    saveFollowedEpoch: (epoch) => write(roleKeys.followedEpoch, { epoch }),
    async secondaries(kind) {
      const prefix = roleKeys.secondaries(kind)
      const found = await Promise.all((await names(prefix)).map((name) => read<KnownSecondary>(prefix + name)))
      return found.filter((secondary) => secondary !== undefined)
    },
    secondary: (kind, id) => read<KnownSecondary>(roleKeys.secondaries(kind) + id),
    saveSecondary: (kind, secondary) => write(roleKeys.secondaries(kind) + secondary.id, secondary),
    removeSecondary: (kind, id) => storage.delete(roleKeys.secondaries(kind) + id),
    async filters() {
      const found = new Map<string, FilterRecord>()
      for (const id of await names(roleKeys.filters)) {
        const filter = await read<FilterRecord>(roleKeys.filters + id)
        if (filter !== undefined) found.set(id, filter)
      }
      return found
    },
    saveFilter: (id, filter) => write(roleKeys.filters + id, filter),
    removeFilter: (id) => storage.delete(roleKeys.filters + id),
    heardAddresses: async (kind) => readAddressRecord(await read(roleKeys.addresses(kind))),
    saveHeardAddresses: (kind, record) => write(roleKeys.addresses(kind), record),
    bootstrapping: async (kind) => (await storage.get(roleKeys.bootstrapping(kind))) !== undefined,
    handover: (kind) => read(roleKeys.handover(kind)),
    saveHandover: (kind, handover) => write(roleKeys.handover(kind), handover),
    demotion: async (kind) => (await read<HandoverResult[]>(roleKeys.demotion(kind))) ?? [],
    saveDemotion: (kind, results) => write(roleKeys.demotion(kind), results),
    fenced: (kind) => read(roleKeys.fenced(kind)),
    saveFenced: (kind, record) => write(roleKeys.fenced(kind), record),
    removeFenced: (kind) => storage.delete(roleKeys.fenced(kind)),
    async clear(kind) {
      const prefixes =
        kind === 'performance' ? [roleKeys.secondaries(kind), roleKeys.filters] : [roleKeys.secondaries(kind)]
      for (const prefix of prefixes) for (const name of await names(prefix)) await storage.delete(prefix + name)
    },
  }
}
