/** What the tests of clusters of several nodes share: clusters that go with their file, clients of every node, and figures. */
import { type HaCluster, type HaClusterOptions, haCluster, type StorageKind, waitFor } from '@lockstep/dev-env'
import { afterAll } from 'vitest'
import { type Acknowledged, type Load, longestPause, startLoad, type Target } from './ledger.ts'
import type { scratch } from './scratch.ts'

/** `LOCKSTEP_HA_STORAGE=etcd` runs one of them only. */
export const STORAGES = (process.env.LOCKSTEP_HA_STORAGE?.split(',') ?? ['postgresql', 'etcd']) as StorageKind[]

export function haScratch(files: ReturnType<typeof scratch>) {
  const clusters: HaCluster[] = []
  afterAll(async () => {
    await Promise.all(clusters.map((cluster) => cluster.stop()))
  })
  return async (name: string, options: Omit<HaClusterOptions, 'directory' | 'name'>): Promise<HaCluster> => {
    const cluster = await haCluster({ ...options, name, directory: await files.path(name) })
    clusters.push(cluster)
    return cluster
  }
}

/** One client for each node, which starts with that node. */
export function clientsOf(cluster: HaCluster): Target[] {
  return cluster.nodes.map(({ name }, number) => ({ name, client: cluster.clientOf(number) }))
}

/** Writers through every node; resolves once each node's clients have had writes acknowledged. */
export async function loadThroughAll(cluster: HaCluster, prefix: string, writers = 6): Promise<Load> {
  const load = startLoad({ prefix, writers, token: cluster.client.token, to: clientsOf(cluster) })
  await waitFor('writes through every node', () =>
    cluster.nodes.every(({ name }) => load.acknowledged.some(({ by }) => by === name)),
  )
  return load
}

/** Until writes are acknowledged again that were asked for after now. */
export async function untilWrites(load: Load, more = 20): Promise<void> {
  const before = load.acknowledged.length
  await waitFor('writes to be acknowledged again', () => load.acknowledged.length >= before + more, {
    timeoutMs: 120_000,
    intervalMs: 10,
  })
}

/** Longest time without any acknowledgement after each moment and before the next (ms since the epoch), in seconds. */
export function outages(writes: readonly Acknowledged[], moments: readonly number[], end: number): number[] {
  return moments.map((from, index) => longestPause(writes, from, moments[index + 1] ?? end))
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN
}

export const inSeconds = (numbers: readonly number[]): string =>
  `p50 ${median(numbers).toFixed(2)} s, max ${Math.max(...numbers).toFixed(2)} s`
