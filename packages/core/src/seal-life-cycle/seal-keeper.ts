/**
 * What an active node does for its auto seal now and then: tests that it works, and when its key was rotated where it is kept seals root key
 * and recovery key anew, so that former versions of the key can be given up.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Store, transact } from '@lockstep/storage'
import type { Log } from '../contracts.ts'
import { readSealConfig, sealKeys } from './seal-config.ts'
import type { WatchedSeal } from './watched-seal.ts'

export interface SealKeeperComponents {
  seal: WatchedSeal
  /** Where the sealed records are. */
  store: Store
  log: Log
}

export interface SealKeeperOptions {
  /** Between two tests, ms. Default 10 minutes, as in Vault. */
  testMs?: number
  /** The same while the last one failed. Default 1 minute. */
  unhealthyTestMs?: number
}

export interface SealKeeper {
  /** Resolves when it stores nothing any more. */
  stop(): Promise<void>
}

const SEALED = [sealKeys.rootKey, sealKeys.recoveryKey] as const
const TEST_BYTES = 32

export function keepSeal(components: SealKeeperComponents, options: SealKeeperOptions = {}): SealKeeper {
  const { seal, store, log } = components
  const { testMs = 600_000, unhealthyTestMs = 60_000 } = options
  const ended = new AbortController()
  const { signal } = ended
  let storing: Promise<unknown> = Promise.resolve()

  async function run(): Promise<void> {
    let failing = false
    while (!signal.aborted) {
      try {
        await test()
        if (failing) log.info('the auto seal works again', { seal: seal.name })
        failing = false
      } catch (error) {
        // At once it matters to nobody: the node goes on with the keys it holds.
        if (!signal.aborted)
          log.warn('the auto seal does not work', { seal: seal.name, reason: (error as Error).message })
        failing = true
      }
      await sleep(failing ? unhealthyTestMs : testMs, undefined, { signal, ref: false }).catch(() => {})
    }
  }

  async function test(): Promise<void> {
    const current = seal.keyIdOf(await seal.encrypt(randomBytes(TEST_BYTES)))
    if ((await readSealConfig(store, sealKeys.config))?.type !== seal.type) return
    const stale: { key: string; before: Uint8Array; after: Uint8Array }[] = []
    for (const key of SEALED) {
      const before = await store.get(key)
      if (before === undefined || seal.keyIdOf(before) === current) continue
      const plaintext = await seal.decrypt(before)
      stale.push({ key, before, after: await seal.encrypt(plaintext).finally(() => plaintext.fill(0)) })
    }
    if (stale.length === 0 || signal.aborted) return
    const stored = transact(store, async (transaction) => {
      for (const { key, before, after } of stale) {
        const now = await transaction.get(key)
        // A rekey came between, and has sealed it anew itself.
        if (now === undefined || Buffer.compare(now, before) !== 0) continue
        await transaction.put(key, after)
      }
    })
    storing = stored.catch(() => {})
    await stored
    log.info('sealed anew with the current key of the auto seal', { seal: seal.name, key: current })
  }

  void run()
  return {
    async stop() {
      ended.abort()
      await storing
    },
  }
}

/** Whether everything sealed is under the current key of the seal, as far as that is known here. */
export async function isFullyWrapped(seal: WatchedSeal, store: Pick<Store, 'get'>): Promise<boolean> {
  for (const key of SEALED) {
    const envelope = await store.get(key)
    try {
      if (envelope !== undefined && seal.keyIdOf(envelope) !== seal.keyId) return false
    } catch {
      // It is another seal's.
      return false
    }
  }
  return true
}
