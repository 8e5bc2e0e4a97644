/** Chooses the implementations: storage, seal, engines, auth methods and the cluster listener, and gives them to core. */
import { approleAuth, userpassAuth } from '@lockstep/auth-methods'
import { createCore, type Log } from '@lockstep/core'
import { cubbyholeEngine, kvEngine, transitEngine } from '@lockstep/engines'
import { parseHcl } from '@lockstep/hcl'
import { clusterListener } from '@lockstep/replication-transport'
import type { AutoSeal } from '@lockstep/seal'
import { parseAddress } from './config/address.ts'
import type { ServerConfig } from './config/server-config.ts'
import { openSeal } from './open-seal.ts'
import { openStorage } from './open-storage.ts'
import type { BuildCore } from './start-server.ts'
import { startupError } from './startup-error.ts'
import { VAULT_VERSION } from './version.ts'

const factories = {
  secret: new Map([
    ['kv', kvEngine()],
    ['transit', transitEngine()],
    ['cubbyhole', cubbyholeEngine()],
  ]),
  auth: new Map([
    ['userpass', userpassAuth()],
    ['approle', approleAuth()],
  ]),
}

export const buildCore: BuildCore = async (config, log) => {
  const undo: (() => Promise<void>)[] = []
  /** Each, also after one has failed; then with the first failure. */
  const closeAll = async (): Promise<void> => {
    const ends = []
    for (const close of undo) ends.push(...(await Promise.allSettled([close()])))
    for (const end of ends) if (end.status === 'rejected') throw end.reason
  }
  const open = async (seal: ServerConfig['seal']): Promise<AutoSeal | undefined> => {
    const opened = await openSeal(seal, log.named('seal'))
    if (opened !== undefined) undo.unshift(async () => opened.close())
    return opened
  }
  try {
    const autoSeal = await open(config.seal)
    const sealToMigrateFrom = await open(config.disabledSeal)
    const storage = await openStorage(config.storage)
    undo.unshift(storage.close)
    const listener = await openClusterListener(config, log.named('cluster'))
    undo.unshift(() => listener.close())
    const core = await createCore(
      {
        physical: storage.store,
        lock: storage.lock,
        fenced: storage.fenced,
        autoSeal,
        sealToMigrateFrom,
        factories,
        listener,
        parseHcl,
        clock: { now: Date.now },
        log: log.named('core'),
      },
      {
        version: VAULT_VERSION,
        buildDate: '2026-11-23T00:00:00Z',
        storageType: config.storage.type,
        sealNames: { autoSeal: config.seal?.name, sealToMigrateFrom: config.disabledSeal?.name },
        clusterName: config.clusterName,
        apiAddress: config.apiAddr,
        clusterAddress: config.clusterAddr,
        requestForwarding: !config.disableClustering,
        defaultLeaseTtl: config.defaultLeaseTtl / 1000,
        maxLeaseTtl: config.maxLeaseTtl / 1000,
        walWaitMs: config.replication.bestEffortWalWaitDuration,
        protocol: config.replicationProtocol,
        logBytes: config.replication.logshipperBufferSize,
        logRecords: config.replication.logshipperBufferLength,
        logMaxAgeMs: config.replication.logshipperBufferAge,
        resolverDiscoverServers: config.replication.resolverDiscoverServers,
        scrubIntervalMs: config.replication.scrubInterval,
        allowForwardingViaHeader: config.replication.allowForwardingViaHeader,
        allowForwardingViaToken: config.replication.allowForwardingViaToken,
        snapshotDirectory: config.snapshotDirectory,
        maxSnapshotBytes: config.maxSnapshotSize,
        unauthenticatedAccess: config.enableUnauthenticatedAccess,
      },
    )
    return {
      ...core,
      async close() {
        undo.unshift(core.close)
        await closeAll()
      },
    }
  } catch (error) {
    await closeAll().catch((reason: unknown) =>
      log.error('closing after a failed start failed', { reason: String(reason) }),
    )
    throw error
  }
}

async function openClusterListener(config: ServerConfig, log: Log) {
  const { clusterAddress } = config.listeners[0]!
  const { host, port } = parseAddress(clusterAddress)!
  try {
    return await clusterListener({
      host,
      port,
      onRefused: (refusal) => log.warn('cluster connection refused', { ...refusal }),
    })
  } catch (error) {
    throw startupError(`cluster listener ${clusterAddress}`, error)
  }
}
