/**
 * sealed → standby → active. Owns the open storage, the keys and the services on top of it; every transition runs alone, in
 * order. Role changes stop the services, change what is stored, and start them again.
 * With a leader lock, nodes wait for it outside of the order of transitions.
 */
import { openKeyring } from '@lockstep/barrier'
import type { AutoSeal } from '@lockstep/seal'
import { CoreError } from '../contracts.ts'
import type { Leading } from '../ha/leading.ts'
import { serialQueue } from '../mounts/serial-queue.ts'
import { autoUnsealing } from './auto-unsealing.ts'
import type { ClusterStoreOptions } from './cluster-store.ts'
import { generationFollowing } from './generation-following.ts'
import { heldLead } from './held-lead.ts'
import { initializedAlready, initializeEmpty } from './initializing.ts'
import { decodeShare, keyShares } from './key-shares.ts'
import { leadCandidacy } from './lead-candidacy.ts'
import { type LedStorageComponents, openLedStorage } from './led-storage.ts'
import type { LifeCycle } from './life-cycle-contract.ts'
import { openByShares } from './open-by-shares.ts'
import { watch } from './poison-pill.ts'
import { sealed, standby } from './refusals.ts'
import { requestGate } from './request-gate.ts'
import { runningServices } from './running-services.ts'
import { readSealConfig, type SealConfig, sealKeys } from './seal-config.ts'
import type { OperatorKey } from './seal-material.ts'
import { sealPlanner } from './seal-plan.ts'
import { sealSettling } from './seal-settling.ts'
import type { Services, Unsealed } from './services.ts'
import { storedChanges } from './stored-changes.ts'
import { unsealedKeys } from './unsealed-keys.ts'

export interface LifeCycleComponents extends LedStorageComponents {
  autoSeal?: AutoSeal
  /** See `CoreComponents`. */
  sealToMigrateFrom?: AutoSeal
  /** Starts what runs on the barrier, in the roles that are stored there. */
  startServices(unsealed: Unsealed): Promise<Services>
  /** With a leader lock: starts what a node does for its standbys as long as it leads, whatever its roles. */
  startLeading?(unsealed: Unsealed): Promise<Leading>
}

export type LifeCycleOptions = ClusterStoreOptions

const STEP_DOWN_MS = 10_000

export async function lifeCycle(components: LifeCycleComponents, options: LifeCycleOptions): Promise<LifeCycle> {
  const { autoSeal, lock, log, startServices, startLeading } = components
  const alone = serialQueue()
  const gate = requestGate()
  const shares = keyShares()
  const storage = await openLedStorage(components, options)
  const keys = unsealedKeys(() => storage.store, autoSeal)
  const seals = sealPlanner({ autoSeal, sealToMigrateFrom: components.sealToMigrateFrom })
  const records = () => storage.store.logged
  const sealState = sealSettling({ seals, keys, autoSeal, records, log })
  const running = runningServices({ keys, gate, startServices })
  const following = generationFollowing({ storage, keys, alone, sealItself, log })
  const lead = heldLead({
    ...{ storage, keys, startLeading, alone, log },
    becomeStandby: () => candidacy.becomeStandby(),
  })
  const candidacy = leadCandidacy({
    ...{ lock, storage, keys, running, lead, following, sealState, alone, sealItself, log },
  })
  const changes = storedChanges({
    ...{ autoSeal, storage, keys, running, candidacy, alone, sealItself, log },
    hasStandbys: lock !== undefined,
  })
  const automatic = autoUnsealing({
    ...{ autoSeal, hasStandbys: lock !== undefined, log },
    follow: following.follow,
    plan: () => seals.plan(records()),
    isUnsealed: () => keys.present,
    generation: () => storage.generation,
    unseal: (rootKey, stillWanted) =>
      alone(async () => {
        let wanted = false
        try {
          wanted = stillWanted()
        } finally {
          if (!wanted) rootKey.fill(0)
        }
        if (!wanted) return
        await unsealWith(rootKey, undefined)
        log.info('unsealed by the auto seal', { type: autoSeal?.type })
      }),
  })

  const readConfig = (key: string): Promise<SealConfig | undefined> => readSealConfig(storage.store.logged, key)

  async function unsealWith(rootKey: Uint8Array, operatorKey: OperatorKey | undefined): Promise<void> {
    try {
      const record = await storage.store.logged.get(sealKeys.keyring)
      if (record === undefined) throw new CoreError('CORE_INTERNAL', 'stored keyring is missing')
      // All that may fail comes first: with keys the node counts as unsealed, and nobody would try again.
      const config = await readConfig(sealKeys.config)
      keys.take({ keyring: openKeyring(rootKey, record), operatorKey })
      sealState.unsealedBy(config?.generation ?? 0)
    } finally {
      rootKey.fill(0)
    }
    if (lock !== undefined) {
      await gate.close(standby())
      return candidacy.begin(0)
    }
    try {
      await sealState.settle()
      await running.start()
    } catch (error) {
      log.error('starting after unseal failed, the node is sealed again', { error: String(error) })
      await doSeal()
      throw error
    }
  }

  async function doSeal(): Promise<void> {
    candidacy.end(sealed())
    lead.endServing()
    try {
      await running.stop(sealed())
    } finally {
      keys.drop()
      following.forget()
      shares.reset()
      await lead.giveUp()
    }
  }

  /** For a failure, or as others have changed what is stored: not to stay so. */
  async function sealItself(): Promise<void> {
    try {
      await doSeal()
    } finally {
      // A storage that could not be opened to read is no reason to stay sealed.
      automatic.keepTrying()
    }
  }

  /** To stay so: what came before in the order of transitions may have begun to unseal again. */
  function endSealed(): Promise<void> {
    automatic.end(sealed())
    return doSeal()
  }

  const stopWatching =
    lock === undefined ? undefined : watch(following.follow, () => keys.present && !storage.mayWrite, log)

  return {
    state: () => (!keys.present ? 'sealed' : running.current === undefined ? 'standby' : 'active'),
    store: () => storage.store,
    services: () => running.current,
    standsBy: () => lock !== undefined && keys.present && !lead.serving,
    serves: () => lead.serving,
    activeSince: () => running.activeSince,
    async sealConfig() {
      await following.follow()
      return readConfig(sealKeys.config)
    },
    recoveryConfig: () => readConfig(sealKeys.recoveryConfig),
    progress: () => ({ progress: shares.progress, nonce: shares.nonce }),
    unsealed: () => (keys.present ? keys : undefined),
    settled: () => alone(async () => {}),
    handle: gate.handle,

    async initialize(params) {
      await following.follow()
      return alone(async () => {
        if (keys.present || (await readConfig(sealKeys.config)) !== undefined) throw initializedAlready()
        await candidacy.leadToInitialize()
        try {
          return await initializeEmpty(
            {
              ...{ storage, keys, autoSeal, log },
              async start() {
                await lead.begin()
                await running.start()
                return running.current!
              },
              stop: () => running.stop(sealed()),
              finish: () => (autoSeal === undefined ? doSeal() : candidacy.announce()),
            },
            params,
          )
        } finally {
          if (!keys.present) {
            await lead.giveUp().catch((error: unknown) => {
              log.error('reopening the storage failed', { error: String(error) })
            })
          }
        }
      })
    },

    async isMigrating() {
      const plan = await seals.plan(storage.store.logged).catch(() => undefined)
      return plan?.migration !== undefined
    },

    async unseal({ key, reset, migrate }) {
      await following.follow()
      return alone(async () => {
        if (keys.present) return
        const plan = await seals.plan(storage.store.logged)
        if (plan === undefined) throw new CoreError('CORE_INVALID_REQUEST', 'Vault is not initialized')
        if (reset === true) return shares.reset()
        if (key === undefined || key === '' || key === null) {
          const text = "'key' must be specified in request body as JSON, or 'reset' set to true"
          throw new CoreError('CORE_INVALID_REQUEST', text)
        }
        const opened = await openByShares(plan, { share: decodeShare(key), migrate: migrate === true }, shares, {
          recoveryConfig: () => readConfig(sealKeys.recoveryConfig),
          recoveryKey: () => storage.store.logged.get(sealKeys.recoveryKey),
        })
        if (opened !== undefined) await unsealWith(opened.rootKey, opened.operatorKey)
      })
    },

    autoUnseal: () => automatic.start(),

    seal() {
      candidacy.end(sealed())
      automatic.end(sealed())
      return alone(endSealed)
    },

    replaceOperatorKey: (next, records) =>
      alone(async () => {
        running.demand()
        await keys.replaceOperatorKey(next, records)
      }),

    async stepDown() {
      if (lock === undefined) return log.info('step-down asked of a node without standbys: nothing to do')
      await alone(async () => {
        if (running.current !== undefined) await candidacy.becomeStandby(STEP_DOWN_MS)
      })
    },

    ...changes,

    async close() {
      candidacy.end(sealed())
      automatic.end(sealed())
      await stopWatching?.()
      await alone(async () => {
        try {
          await endSealed()
        } finally {
          await storage.close()
        }
      })
    },
  }
}
