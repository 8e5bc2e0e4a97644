/**
 * sealed → standby → active. Owns the open storage generation, the keyring and the services on top of it; every
 * transition runs alone, in order. Role changes stop the services, change what is stored, and start them again.
 */
import { deserializeKeyring, type Keyring, openKeyring } from '@lockstep/barrier'
import type { AutoSeal } from '@lockstep/seal'
import type { LeaderLock, Leadership, Store } from '@lockstep/storage'
import { CoreError, type CoreRequest, type CoreResponse, type Log } from '../contracts.ts'
import type { BootstrapReply } from '../replication/bootstrap-reply.ts'
import { type ClusterStore, type ClusterStoreOptions, openClusterStore } from './cluster-store.ts'
import type { Generations } from './generations.ts'
import { type Initialized, type InitializeParams, initializeStorage } from './initialize.ts'
import { decodeShare, keyShares } from './key-shares.ts'
import { requestGate } from './request-gate.ts'
import { openRootKey, openRootKeyByAutoSeal } from './root-key.ts'
import { decodeSealConfig, type SealConfig, sealKeys } from './seal-config.ts'
import { adoptSeal, type OperatorKey } from './seal-material.ts'
import type { Services, Unsealed } from './services.ts'

export interface LifeCycleComponents {
  generations: Generations
  autoSeal?: AutoSeal
  lock?: LeaderLock
  log: Log
  /** Starts what runs on the barrier, in the roles that are stored there. */
  startServices(unsealed: Unsealed): Promise<Services>
}

export interface LifeCycleOptions extends ClusterStoreOptions {
  /** Published with the leader lock, for standbys. */
  address: string
}

export interface LifeCycle {
  state(): 'sealed' | 'standby' | 'active'
  store(): ClusterStore
  services(): Services | undefined
  activeSince(): number
  sealConfig(): Promise<SealConfig | undefined>
  recoveryConfig(): Promise<SealConfig | undefined>
  progress(): { progress: number; nonce: string }
  /** Leaves the node active; with an auto seal too. */
  initialize(params: InitializeParams): Promise<Initialized & { rootToken: string }>
  unseal(params: { key?: unknown; reset?: unknown }): Promise<void>
  /**
   * At start-up. Unseals with the auto seal when there is one and the storage is initialised. Rejects when the storage is
   * sealed in another way than the configuration says, or the seal cannot open it.
   */
  autoUnseal(): Promise<void>
  seal(): Promise<void>
  /** Stops the services, runs `change`, starts them again even when `change` fails. */
  transition(change: (unsealed: Unsealed) => Promise<void>): Promise<void>
  /** Replaces everything stored by an empty storage under the primary's keyring; `fill` writes the role. */
  adopt(reply: BootstrapReply, fill: (barrier: Store) => Promise<void>): Promise<void>
  unsealed(): Unsealed | undefined
  handle(request: CoreRequest): Promise<CoreResponse>
  close(): Promise<void>
}

/** NIST SP 800-38D allows 2^32 per key, so this much may be forgotten in a crash many times over. */
const ENCRYPTIONS_BETWEEN_SAVES = 2 ** 20

const sealed = (): CoreError => new CoreError('CORE_SEALED', 'Vault is sealed')
const changing = (): CoreError =>
  new CoreError('CORE_UNAVAILABLE', 'Vault is changing its replication role, try again shortly')

export async function lifeCycle(components: LifeCycleComponents, options: LifeCycleOptions): Promise<LifeCycle> {
  const { generations, autoSeal, lock, log, startServices } = components
  const gate = requestGate()
  const shares = keyShares()
  let store = await openClusterStore(generations.current(), log, options)
  let secrets: { keyring: Keyring; operatorKey: OperatorKey | undefined } | undefined
  let services: Services | undefined
  let leadership: Leadership | undefined
  let waiting: AbortController | undefined
  let activeSince = 0
  let sealing: Promise<void> | undefined
  /** As of the keyring record last written; what a crash forgets is bounded by the distance to it. */
  let storedEncryptions = 0

  let last: Promise<unknown> = Promise.resolve()
  function alone<T>(body: () => Promise<T>): Promise<T> {
    const next = last.then(body, body)
    last = next.catch(() => {})
    return next
  }

  const read = (key: string): Promise<Uint8Array | undefined> => store.logged.get(key)
  async function readConfig(key: string): Promise<SealConfig | undefined> {
    const bytes = await read(key)
    return bytes && decodeSealConfig(key, bytes)
  }

  const unsealed: Unsealed = {
    get store() {
      return store
    },
    get barrier() {
      return store.barrier(unsealed.keyring)
    },
    keyring() {
      if (secrets === undefined) throw sealed()
      return secrets.keyring
    },
    async reloadKeyring() {
      const current = unsealed.keyring()
      const record = await read(sealKeys.keyring)
      if (record === undefined || secrets === undefined) return
      const rootKey = current.rootKey()
      try {
        secrets.keyring = openKeyring(rootKey, record)
      } finally {
        rootKey.fill(0)
      }
      if (secrets.keyring !== current) setImmediate(() => current.close())
    },
    async rotateKeyring() {
      const next = unsealed.keyring().clone()
      next.rotate()
      await store.logged.put(sealKeys.keyring, next.encrypt())
      if (secrets === undefined) return next.close()
      const previous = secrets.keyring
      secrets.keyring = next
      storedEncryptions = 0
      setImmediate(() => previous.close())
    },
    async keepKeyring() {
      const current = unsealed.keyring()
      if (current.needsRotation) return unsealed.rotateKeyring()
      const encryptions = current.terms().at(-1)!.encryptions
      if (encryptions - storedEncryptions < ENCRYPTIONS_BETWEEN_SAVES) return
      await store.logged.put(sealKeys.keyring, current.encrypt())
      storedEncryptions = encryptions
    },
    async operatorKey() {
      if (secrets?.operatorKey !== undefined) return secrets.operatorKey
      const config = await readConfig(sealKeys.recoveryConfig)
      const record = await read(sealKeys.recoveryKey)
      if (autoSeal === undefined || config === undefined || record === undefined) {
        throw new CoreError('CORE_INTERNAL', 'stored recovery configuration is missing')
      }
      const key = await autoSeal.decrypt(record)
      return { key, shares: config.secret_shares, threshold: config.secret_threshold }
    },
  }

  async function start(): Promise<void> {
    if (lock !== undefined && leadership === undefined) {
      waiting = new AbortController()
      leadership = await lock.acquire(waiting.signal)
      waiting = undefined
      await leadership.publish(options.address)
      watch(leadership)
    }
    services = await startServices(unsealed)
    activeSince = Date.now()
    gate.open(services)
  }

  async function stop(reason: CoreError, options: { hold?: boolean } = {}): Promise<void> {
    const stopping = services
    services = undefined
    await gate.close(reason, options)
    await stopping?.stop()
  }

  function watch(held: Leadership): void {
    void held.lost.then(() =>
      alone(async () => {
        if (leadership !== held) return
        leadership = undefined
        log.warn('the leader lock is lost, this node is a standby now')
        await stop(new CoreError('CORE_STANDBY', 'Vault is in standby mode'))
        await store.close()
        store = await openClusterStore(generations.current(), log, options)
        startInBackground()
      }),
    )
  }

  /** With a lock another node may hold it for long: unsealing must not wait for that. */
  function startInBackground(): void {
    void alone(async () => {
      if (secrets !== undefined && services === undefined) await start()
    }).catch((error: unknown) => log.error('starting after unseal failed', { error: String(error) }))
  }

  async function open(rootKey: Uint8Array, operatorKey: OperatorKey | undefined): Promise<void> {
    const record = await read(sealKeys.keyring)
    if (record === undefined) throw new CoreError('CORE_INTERNAL', 'stored keyring is missing')
    secrets = { keyring: openKeyring(rootKey, record), operatorKey }
    storedEncryptions = secrets.keyring.terms().at(-1)!.encryptions
    rootKey.fill(0)
    if (lock !== undefined) return startInBackground()
    try {
      await start()
    } catch (error) {
      await doSeal()
      throw error
    }
  }

  /** Sealing waits for the requests under way, so the one that asks for it is over before, and answered after. */
  async function handleSeal(request: CoreRequest): Promise<CoreResponse> {
    const response = await gate.handle(request)
    await sealing?.catch(() => {})
    return response
  }

  async function doSeal(): Promise<void> {
    waiting?.abort(sealed())
    await stop(sealed())
    const held = leadership
    leadership = undefined
    await held?.release()
    secrets?.keyring.close()
    secrets?.operatorKey?.key.fill(0)
    secrets = undefined
  }

  return {
    state: () => (secrets === undefined ? 'sealed' : services === undefined ? 'standby' : 'active'),
    store: () => store,
    services: () => services,
    activeSince: () => activeSince,
    sealConfig: () => readConfig(sealKeys.config),
    recoveryConfig: () => readConfig(sealKeys.recoveryConfig),
    progress: () => ({ progress: shares.progress, nonce: shares.nonce }),
    unsealed: () => (secrets === undefined ? undefined : unsealed),
    handle: (request) => (request.path === 'sys/seal' ? handleSeal(request) : gate.handle(request)),

    initialize: (params) =>
      alone(async () => {
        const made = await initializeStorage(store.logged, params, autoSeal)
        secrets = { keyring: made.keyring, operatorKey: autoSeal === undefined ? made.operatorKey : undefined }
        await start()
        const rootToken = await services!.createRootToken!()
        if (autoSeal === undefined) await doSeal()
        return { ...made, rootToken }
      }),

    unseal: ({ key, reset }) =>
      alone(async () => {
        if (secrets !== undefined) return
        const config = await readConfig(sealKeys.config)
        if (config === undefined) throw new CoreError('CORE_INVALID_REQUEST', 'Vault is not initialized')
        if (reset === true) return shares.reset()
        if (key === undefined || key === '' || key === null) {
          const text = "'key' must be specified in request body as JSON, or 'reset' set to true"
          throw new CoreError('CORE_INVALID_REQUEST', text)
        }
        if (config.type !== 'shamir') {
          throw new CoreError(
            'CORE_INVALID_REQUEST',
            `the barrier is sealed by ${config.type}, it does not unseal with shares`,
          )
        }
        const counts = { shares: config.secret_shares, threshold: config.secret_threshold }
        const kek = shares.add(decodeShare(key), counts)
        if (kek === undefined) return
        const sealedRootKey = await read(sealKeys.rootKey)
        if (sealedRootKey === undefined) throw new CoreError('CORE_INTERNAL', 'stored root key is missing')
        const rootKey = openRootKey(kek, sealedRootKey)
        await open(rootKey, { key: kek, ...counts })
      }),

    autoUnseal: () =>
      alone(async () => {
        const config = await readConfig(sealKeys.config)
        if (config === undefined || secrets !== undefined) return
        const configured = autoSeal?.type ?? 'shamir'
        if (config.type !== configured) {
          const text = `the storage is sealed by ${config.type}, the configuration says ${configured}; seals cannot be migrated`
          throw new CoreError('CORE_INVALID_REQUEST', text)
        }
        if (autoSeal === undefined) return
        const sealedRootKey = await read(sealKeys.rootKey)
        if (sealedRootKey === undefined) throw new CoreError('CORE_INTERNAL', 'stored root key is missing')
        await open(await openRootKeyByAutoSeal(autoSeal, sealedRootKey), undefined)
      }),

    seal() {
      sealing = alone(doSeal)
      return sealing
    },

    transition: (change) =>
      alone(async () => {
        if (secrets === undefined) throw sealed()
        await stop(changing(), { hold: true })
        try {
          await change(unsealed)
        } finally {
          await start()
        }
      }),

    adopt: (reply, fill) =>
      alone(async () => {
        if (secrets === undefined) throw sealed()
        const keyring = deserializeKeyring(reply.keyring)
        const rootKey = keyring.rootKey()
        const seal = await adoptSeal(rootKey, reply.operatorKey, autoSeal)
        rootKey.fill(0)
        await stop(changing(), { hold: true })
        try {
          await generations.replace(async (next) => {
            const filled = await openClusterStore(next, log, options)
            for (const [key, value] of seal) await filled.logged.put(key, value)
            await filled.logged.put(sealKeys.keyring, keyring.encrypt())
            await fill(filled.barrier(() => keyring))
            await filled.close()
          })
          await store.close()
          secrets.keyring.close()
          secrets = { keyring, operatorKey: autoSeal === undefined ? reply.operatorKey : undefined }
          store = await openClusterStore(generations.current(), log, options)
        } finally {
          await start()
        }
      }),

    async close() {
      waiting?.abort(sealed())
      await alone(async () => {
        await doSeal()
        await store.close()
        await generations.settled()
      })
    },
  }
}
