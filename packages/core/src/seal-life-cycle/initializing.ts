/** `sys/init` on an open storage: all of it, or the storage is empty again. */
import type { AutoSeal } from '@lockstep/seal'
import { CoreError, type Log } from '../contracts.ts'
import { type HandedOut, handOut } from './hand-out.ts'
import { type InitializeParams, prepareStorage } from './initialize.ts'
import type { LedStorage } from './led-storage.ts'
import { readSealConfig, sealKeys } from './seal-config.ts'
import type { Services } from './services.ts'
import type { UnsealedKeys } from './unsealed-keys.ts'

export interface InitializingComponents {
  storage: LedStorage
  keys: UnsealedKeys
  autoSeal: AutoSeal | undefined
  /** The services of the node that holds `keys`. */
  start(): Promise<Services>
  stop(): Promise<void>
  /** An auto-sealed node stays active, any other is sealed. */
  finish(): Promise<void>
  log: Log
}

export const initializedAlready = (): CoreError => new CoreError('CORE_INVALID_REQUEST', 'Vault is already initialized')

/** The shares exist nowhere but in the answer: until the record that says "initialised" is written, all can be done over. */
export async function initializeEmpty(
  { storage, keys, autoSeal, start, stop, finish, log }: InitializingComponents,
  params: InitializeParams,
): Promise<{ shares: HandedOut; rootToken: string }> {
  if ((await readSealConfig(storage.store.logged, sealKeys.config)) !== undefined) throw initializedAlready()
  if ((await storage.store.logged.get(sealKeys.keyring)) !== undefined) {
    log.warn('an earlier initialization was cut short, what it left is deleted')
    await storage.replace(async () => {})
  }
  try {
    const { config, parts, ...made } = await prepareStorage(storage.store.logged, params, autoSeal)
    const operatorKey = autoSeal === undefined ? made.operatorKey : undefined
    if (operatorKey === undefined) made.operatorKey.key.fill(0)
    keys.take({ keyring: made.keyring, operatorKey })
    const services = await start()
    const token = await services.createRootToken!()
    const rootToken = await (params.tokenRecipient?.encrypt(token) ?? token)
    const handedOut = await handOut(parts, params.recipients)
    for (const part of parts) part.fill(0)
    await storage.store.logged.put(sealKeys.config, config)
    // From here on the shares are in force, and have to reach those who hold them.
    await finish().catch((error: unknown) => {
      log.error('the cluster is initialized, but this node could not be readied', { error: String(error) })
    })
    return { shares: handedOut, rootToken }
  } catch (error) {
    log.error('initialization failed, the storage is emptied again', { error: String(error) })
    await stop().catch(() => {})
    keys.drop()
    await storage
      .replace(async () => {})
      .catch((cause: unknown) => log.error('emptying the storage failed', { error: String(cause) }))
    throw error
  }
}
