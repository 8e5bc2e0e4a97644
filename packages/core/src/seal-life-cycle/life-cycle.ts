/**
 * sealed → standby → active. Owns the open storage, the keys and the services on top of it; every transition runs alone, in
 * order. Role changes stop the services, change what is stored, and start them again.
 * With a leader lock, nodes wait for it outside of the order of transitions.
 */
import { BarrierError, openKeyring } from '@lockstep/barrier'
import type { AutoSeal } from '@lockstep/seal'
import type { Leadership, Store } from '@lockstep/storage'
import { CoreError, type CoreRequest, type CoreResponse } from '../contracts.ts'
import type { Leading } from '../ha/leading.ts'
import type { BootstrapReply } from '../replication/activation/bootstrap-reply.ts'
import { prepareAdoption, storeAdopted } from './adopting.ts'
import { autoUnsealing } from './auto-unsealing.ts'
import type { ClusterStore, ClusterStoreOptions } from './cluster-store.ts'
import type { StagedGeneration } from './generations.ts'
import type { HandedOut } from './hand-out.ts'
import type { InitializeParams } from './initialize.ts'
import { initializedAlready, initializeEmpty } from './initializing.ts'
import { decodeShare, keyShares } from './key-shares.ts'
import { type LedStorageComponents, openLedStorage } from './led-storage.ts'
import { openByShares } from './open-by-shares.ts'
import { KEYRING_UNEXPLAINED, KEYS_CHANGED, poisonedBy, poisonPill, watch } from './poison-pill.ts'
import { requestGate } from './request-gate.ts'
import { retrying } from './retrying.ts'
import { readSealConfig, type SealConfig, sealKeys } from './seal-config.ts'
import type { OperatorKey } from './seal-material.ts'
import { sealPlanner } from './seal-plan.ts'
import { sealSettling } from './seal-settling.ts'
import type { Services, Unsealed } from './services.ts'
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

export interface LifeCycle {
  state(): 'sealed' | 'standby' | 'active'
  store(): ClusterStore
  services(): Services | undefined
  /** Whether requests are another node's: of an unsealed node with a leader lock, unless it leads and serves. */
  standsBy(): boolean
  /** Whether the node leads and its services take requests. Of a node with a leader lock only. */
  serves(): boolean
  activeSince(): number
  /** Undefined until initialised. */
  sealConfig(): Promise<SealConfig | undefined>
  recoveryConfig(): Promise<SealConfig | undefined>
  progress(): { progress: number; nonce: string }
  /** Leaves the node sealed, with an auto seal active. When it rejects, the storage is not initialised. */
  initialize(params: InitializeParams): Promise<{ shares: HandedOut; rootToken: string }>
  /** With `migrate` by the shares of the seal to migrate from; the seal is migrated when the node leads. */
  unseal(params: { key?: unknown; reset?: unknown; migrate?: unknown }): Promise<void>
  /** Whether the seal waits to be migrated. False when that cannot be told. */
  isMigrating(): Promise<boolean>
  /**
   * At start-up. Unseals with the auto seal when there is one and the storage is initialised; a seal that cannot open it now is tried
   * again and again in the background. Rejects when the storage is sealed in another way than the configuration says.
   */
  autoUnseal(): Promise<void>
  seal(): Promise<void>
  /** See `Unsealed`. Rejects with CORE_SEALED, and on a standby with CORE_STANDBY. */
  replaceOperatorKey: Unsealed['replaceOperatorKey']
  /** Gives up the lead for a while, when other nodes could take it. */
  stepDown(): Promise<void>
  /**
   * Stops the services, runs `change`, starts them again even when `change` fails. When they do not start, the node seals itself, or
   * with a leader lock becomes a standby. `before` runs once no request is under way and the services still do; when it fails there
   * is no `change`.
   */
  transition(
    change: (unsealed: Unsealed) => Promise<void>,
    before?: (unsealed: Unsealed) => Promise<void>,
  ): Promise<void>
  /**
   * Replaces everything stored by an empty storage under the primary's keyring; `fill` writes what belongs in it besides seal and
   * keyring. Takes over the keys in `reply`, which are overwritten when it fails.
   */
  adopt(reply: BootstrapReply, fill: (next: Store, previous: Store) => Promise<void>): Promise<void>
  /** A generation to fill while the services go on. Rejects with CORE_SEALED, and on a standby with CORE_STANDBY. */
  stage(): Promise<StagedGeneration>
  /**
   * Puts what was staged in the place of everything stored, after `finish` has made it ready with nothing writing any more. With
   * `keepKeys` the node goes on with the keys it holds; else it seals itself, and needs those of what was restored. When it rejects
   * nothing was changed, or the storage cannot be opened.
   */
  restore(staged: StagedGeneration, how: RestoreHow): Promise<void>
  /** Resolves when the transitions begun so far are over. */
  settled(): Promise<void>
  /** Undefined while sealed. On a standby it can read. */
  unsealed(): Unsealed | undefined
  handle(request: CoreRequest): Promise<CoreResponse>
  close(): Promise<void>
}

export interface RestoreHow {
  keepKeys: boolean
  finish(current: ClusterStore['logged']): Promise<void>
}

const INITIALIZE_LOCK_MS = 10_000
const STEP_DOWN_MS = 10_000
const CAMPAIGN_RETRY_MS = 2_000

const sealed = (): CoreError => new CoreError('CORE_SEALED', 'Vault is sealed')
const standby = (): CoreError => new CoreError('CORE_STANDBY', 'Vault is in standby mode')
const changing = (): CoreError =>
  new CoreError('CORE_UNAVAILABLE', 'Vault is changing its replication role, try again shortly')
const restoring = (): CoreError => new CoreError('CORE_UNAVAILABLE', 'Vault is restoring a snapshot, try again shortly')

export async function lifeCycle(components: LifeCycleComponents, options: LifeCycleOptions): Promise<LifeCycle> {
  const { autoSeal, lock, log, startServices, startLeading } = components
  const gate = requestGate()
  const shares = keyShares()
  const storage = await openLedStorage(components, options)
  const keys = unsealedKeys(() => storage.store, autoSeal)
  const seals = sealPlanner({ autoSeal, sealToMigrateFrom: components.sealToMigrateFrom })
  const records = () => storage.store.logged
  const sealState = sealSettling({ seals, keys, autoSeal, records, log })
  const automatic = autoUnsealing({
    ...{ autoSeal, hasStandbys: lock !== undefined, log },
    follow,
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
  let services: Services | undefined
  let lead: { held: Leadership; leading: Leading | undefined; serving: boolean } | undefined
  let campaign: AbortController | undefined
  let activeSince = 0
  /** The generation whose keys are held, as long as it is not known whether those of the open one are others. */
  let unexplained: number | undefined

  let last: Promise<unknown> = Promise.resolve()
  function alone<T>(body: () => Promise<T>): Promise<T> {
    const next = last.then(body, body)
    last = next.catch(() => {})
    return next
  }

  /** Another node may have replaced the storage meanwhile, or this one failed to open it. */
  async function follow(): Promise<void> {
    if (unexplained === undefined && (await storage.isCurrent())) return
    await alone(async () => {
      if (unexplained === undefined && (await storage.isCurrent())) return
      const before = storage.generation
      await storage.reopen()
      if (await explained(before)) return
      await doSeal()
      automatic.keepTrying()
    })
  }

  /** False when the keys held are not those of the generation that is open. Rejects when that cannot be seen; it is looked at again. */
  async function explained(before: number): Promise<boolean> {
    unexplained ??= before
    const same = !keys.present || storage.generation === unexplained || (await sameKeys(unexplained))
    unexplained = undefined
    return same
  }

  /**
   * Another node has put a new generation in the place of `before`. Only who held the keys of that one could leave a pill that opens
   * with them: it tells a change of role from a storage that was corrupted, or replaced behind the nodes' back.
   */
  async function sameKeys(before: number): Promise<boolean> {
    if (poisonedBy(await storage.pill(before), keys.keyring())) {
      log.error(KEYS_CHANGED, { generation: storage.generation })
      return false
    }
    try {
      if ((await storage.store.logged.get(sealKeys.keyring)) === undefined) throw new Error('there is none')
      await keys.reopen()
      log.warn('the storage was replaced by another generation under the same keys', { generation: storage.generation })
      return true
    } catch (error) {
      // A storage that is away says nothing about keys.
      if ((error as { code?: unknown }).code === 'STORAGE_UNAVAILABLE') throw error
      const fields = { generation: storage.generation, error: String(error) }
      log.error(KEYRING_UNEXPLAINED, fields)
      return false
    }
  }

  const readConfig = (key: string): Promise<SealConfig | undefined> => readSealConfig(storage.store.logged, key)

  async function start(): Promise<void> {
    services = await startServices(keys)
    activeSince = Date.now()
    gate.open(services)
  }

  async function stop(
    reason: CoreError,
    options: { hold?: boolean; before?: () => Promise<void> | undefined } = {},
  ): Promise<void> {
    const stopping = services
    services = undefined
    await gate.close(reason, options)
    try {
      await options.before?.()
    } finally {
      await stopping?.stop()
    }
  }

  // ------------------------------------------------------------- leading

  async function takeLead(held: Leadership): Promise<void> {
    await storage.lead(held)
    lead = { held, leading: undefined, serving: false }
    void held.lost
      .then(() => alone(() => lostLead(held)))
      .catch((error: unknown) => log.error('becoming a standby failed', { error: String(error) }))
  }

  /** With keys that are the storage's; again after they were replaced. */
  async function beginLeading(): Promise<void> {
    if (lead === undefined) return
    await lead.leading?.stop()
    lead.leading = await startLeading?.(keys)
  }

  /** Services run: standbys send requests from now on. */
  async function announce(): Promise<void> {
    if (lead === undefined) return
    lead.serving = true
    if (lead.leading !== undefined) await lead.held.publish(lead.leading.advertisement)
  }

  /** In another generation there is another root of trust. A leader that standbys cannot reach makes way, perhaps for itself. */
  async function leadAnew(): Promise<void> {
    try {
      await beginLeading()
      await announce()
    } catch (error) {
      log.error('forwarding was not started, the node is a standby now', { error: String(error) })
      await becomeStandby(CAMPAIGN_RETRY_MS)
    }
  }

  async function giveUpLead(): Promise<void> {
    const leading = lead?.leading
    lead = undefined
    await leading?.stop().catch((error: unknown) => log.error('stopping forwarding failed', { error: String(error) }))
    await storage.giveUp()
  }

  async function lostLead(held: Leadership): Promise<void> {
    if (!storage.leadsBy(held)) return
    log.warn('the leader lock is lost, this node is a standby now')
    await becomeStandby()
  }

  /** Whatever of it fails, the node waits for the lead again, and opens everything anew when it gets it. */
  async function becomeStandby(waitMs = 0): Promise<void> {
    if (lead !== undefined) lead.serving = false
    await stop(standby()).catch((error: unknown) => log.error('stopping failed', { error: String(error) }))
    await giveUpLead().catch((error: unknown) => log.error('reopening the storage failed', { error: String(error) }))
    if (keys.present) startCampaign(waitMs)
  }

  /** Another node may lead for long: neither unsealing nor sealing waits for that. */
  function startCampaign(waitMs: number): void {
    campaign = retrying(
      async (signal) => {
        const held = await lock!.acquire(signal)
        await alone(() => becomeActive(held, signal))
      },
      {
        startMs: waitMs,
        retryMs: CAMPAIGN_RETRY_MS,
        longestMs: CAMPAIGN_RETRY_MS,
        onError: (error) => log.error('taking the lead failed, trying again', { error: String(error) }),
      },
    )
  }

  async function becomeActive(held: Leadership, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return held.release()
    try {
      const before = storage.generation
      await takeLead(held)
      if (!(await explained(before))) throw new CoreError('CORE_SEALED', 'the keys have changed')
      await keys.reopen().catch((cause: unknown) => {
        if (!(cause instanceof BarrierError)) throw cause
        throw new CoreError('CORE_SEALED', 'the stored keyring does not open', { cause })
      })
      // Of a secondary it may be under a keyring that is still on its way. Unread for another reason it might be out of date, and be told to
      // secondaries as the one in force.
      await keys.refreshOperatorKey().catch((error: unknown) => {
        if (!(error instanceof BarrierError)) throw error
        log.warn('what the operators hold shares of was not read anew', { error: String(error) })
      })
      await sealState.settle()
      await beginLeading()
      await start()
      await announce()
    } catch (error) {
      await stop(standby()).catch(() => {})
      await giveUpLead()
      if (error instanceof CoreError && error.code === 'CORE_SEALED') {
        log.error('this node cannot lead with the keys it was unsealed with, it seals itself', { error: error.message })
        await doSeal()
        return automatic.keepTrying()
      }
      throw error
    }
  }

  // ------------------------------------------------------------- sealing and unsealing

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
      return startCampaign(0)
    }
    try {
      await sealState.settle()
      await start()
    } catch (error) {
      log.error('starting after unseal failed, the node is sealed again', { error: String(error) })
      await doSeal()
      throw error
    }
  }

  async function doSeal(): Promise<void> {
    campaign?.abort(sealed())
    if (lead !== undefined) lead.serving = false
    try {
      await stop(sealed())
    } finally {
      keys.drop()
      unexplained = undefined
      shares.reset()
      await giveUpLead()
    }
  }

  /** To stay so: what came before in the order of transitions may have begun to unseal again. */
  function endSealed(): Promise<void> {
    automatic.end(sealed())
    return doSeal()
  }

  /** After a change: without services the node would neither serve nor say why. */
  async function startAgain(): Promise<void> {
    try {
      await start()
    } catch (error) {
      if (lock !== undefined) {
        log.error('starting after a change of role failed, the node is a standby now', { error: String(error) })
        await becomeStandby(CAMPAIGN_RETRY_MS)
      } else {
        log.error('starting after a change of role failed, the node seals itself', { error: String(error) })
        await doSeal()
        automatic.keepTrying()
      }
      throw error
    }
  }

  // ------------------------------------------------------------- initialising

  async function leadToInitialize(): Promise<void> {
    if (lock === undefined) return
    let held: Leadership
    try {
      held = await lock.acquire(AbortSignal.timeout(INITIALIZE_LOCK_MS))
    } catch (cause) {
      throw new CoreError('CORE_UNAVAILABLE', 'another node leads: initialize that one', { cause })
    }
    try {
      await takeLead(held)
    } catch (error) {
      await giveUpLead()
      throw error
    }
  }

  const stopWatching = lock === undefined ? undefined : watch(follow, () => keys.present && !storage.mayWrite, log)

  return {
    state: () => (!keys.present ? 'sealed' : services === undefined ? 'standby' : 'active'),
    store: () => storage.store,
    services: () => services,
    standsBy: () => lock !== undefined && keys.present && !lead?.serving,
    serves: () => lead?.serving === true,
    activeSince: () => activeSince,
    async sealConfig() {
      await follow()
      return readConfig(sealKeys.config)
    },
    recoveryConfig: () => readConfig(sealKeys.recoveryConfig),
    progress: () => ({ progress: shares.progress, nonce: shares.nonce }),
    unsealed: () => (keys.present ? keys : undefined),
    settled: () => alone(async () => {}),
    handle: gate.handle,

    async initialize(params) {
      await follow()
      return alone(async () => {
        if (keys.present || (await readConfig(sealKeys.config)) !== undefined) throw initializedAlready()
        await leadToInitialize()
        try {
          return await initializeEmpty(
            {
              ...{ storage, keys, autoSeal, log },
              async start() {
                await beginLeading()
                await start()
                return services!
              },
              stop: () => stop(sealed()),
              finish: () => (autoSeal === undefined ? doSeal() : announce()),
            },
            params,
          )
        } finally {
          if (!keys.present) await giveUpLead()
        }
      })
    },

    async isMigrating() {
      const plan = await seals.plan(storage.store.logged).catch(() => undefined)
      return plan?.migration !== undefined
    },

    async unseal({ key, reset, migrate }) {
      await follow()
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
      campaign?.abort(sealed())
      automatic.end(sealed())
      return alone(endSealed)
    },

    replaceOperatorKey: (next, records) =>
      alone(async () => {
        if (services === undefined) throw keys.present ? standby() : sealed()
        await keys.replaceOperatorKey(next, records)
      }),

    async stepDown() {
      if (lock === undefined) return log.info('step-down asked of a node without standbys: nothing to do')
      await alone(async () => {
        if (services !== undefined) await becomeStandby(STEP_DOWN_MS)
      })
    },

    transition: (change, before) =>
      alone(async () => {
        if (services === undefined) throw keys.present ? standby() : sealed()
        try {
          await stop(changing(), { hold: true, before: async () => before?.(keys) })
          await change(keys)
        } catch (error) {
          log.error('a change of role failed, nothing was changed', { error: String(error) })
          throw error
        } finally {
          await startAgain()
        }
      }),

    adopt: (reply, fill) =>
      alone(async () => {
        const { operatorKey } = reply
        let kept = false
        try {
          if (services === undefined) throw keys.present ? standby() : sealed()
          const adoption = await prepareAdoption(reply, autoSeal)
          const { keyring } = adoption
          try {
            await stop(changing(), { hold: true })
            await storeAdopted(adoption, storage, keys, fill)
            kept = autoSeal === undefined
            keys.take({ keyring, operatorKey: kept ? operatorKey : undefined })
          } catch (error) {
            keyring.close()
            throw error
          } finally {
            await startAgain()
          }
          await leadAnew()
        } finally {
          reply.keyring.fill(0)
          if (!kept) operatorKey.key.fill(0)
        }
      }),

    stage: () =>
      alone(() => {
        if (services === undefined) throw keys.present ? standby() : sealed()
        return storage.stage()
      }).then((staged) => ({ ...staged, discard: () => alone(() => staged.discard()) })),

    restore: (staged, { keepKeys, finish }) =>
      alone(async () => {
        if (services === undefined) throw keys.present ? standby() : sealed()
        const before = storage.generation
        const pill = keepKeys ? undefined : (context: string): Uint8Array => poisonPill(keys.keyring(), context)
        try {
          await stop(restoring(), { hold: true })
          await staged.activate(() => finish(storage.store.logged), pill)
          if (keepKeys) await keys.reopen()
        } finally {
          if (storage.generation !== before && !keepKeys) {
            await doSeal()
            automatic.keepTrying()
          } else await startAgain()
        }
        if (keepKeys) await leadAnew()
      }),

    async close() {
      campaign?.abort(sealed())
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
