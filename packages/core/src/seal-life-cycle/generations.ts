/**
 * A cluster's storage lives in a numbered generation, `g<n>/`. Becoming a secondary means starting over under another
 * keyring: the next generation is filled first and then made current by one write, so that activation is all or nothing
 * however much data there was; the old one is deleted afterwards, in the background, and again at start-up if that was cut short.
 */
import { prefixedStore, type Store, transact } from '@lockstep/storage'
import { CoreError, type Log } from '../contracts.ts'

const POINTER = 'generation'
const FORMAT = 1
const DELETE_BATCH = 1000

interface Pointer {
  format: number
  current: number
  /** Never used before, not even by a generation that was given up half filled. */
  next: number
}

export interface Generations {
  /** The current generation's store. Closing it does nothing. */
  current(): Store
  /** `fill` writes the next generation; it becomes current once `fill` resolves, or never. */
  replace(fill: (next: Store) => Promise<void>): Promise<void>
  /** Resolves when the deletion of old generations under way is over. */
  settled(): Promise<void>
}

export async function openGenerations(physical: Store, log: Log): Promise<Generations> {
  let pointer = await readPointer(physical)
  let stopped = false
  let cleaning = deleteOthers()

  async function save(change: Partial<Pointer>): Promise<void> {
    const changed = { ...pointer, ...change }
    await physical.put(POINTER, new TextEncoder().encode(JSON.stringify(changed)))
    pointer = changed
  }

  async function deleteOthers(): Promise<void> {
    try {
      for (const child of await physical.list('')) {
        const number = /^g(\d+)\/$/.exec(child)?.[1]
        if (number !== undefined && Number(number) !== pointer.current && !stopped) await deletePrefix(physical, child)
      }
    } catch (error) {
      if ((error as { code?: unknown }).code === 'STORAGE_CLOSED') return
      log.warn('deleting an old storage generation failed, it is tried again at the next start', {
        error: String(error),
      })
    }
  }

  return {
    current: () => prefixedStore(physical, `g${pointer.current}/`),
    settled: () => cleaning,
    async replace(fill) {
      stopped = true
      await cleaning
      stopped = false
      const next = pointer.next
      await save({ next: next + 1 })
      try {
        await fill(prefixedStore(physical, `g${next}/`))
        await save({ current: next })
      } finally {
        cleaning = deleteOthers()
      }
    },
  }
}

async function readPointer(physical: Store): Promise<Pointer> {
  const stored = await physical.get(POINTER)
  if (stored === undefined) return { format: FORMAT, current: 0, next: 1 }
  const pointer = JSON.parse(new TextDecoder().decode(stored)) as Pointer
  if (pointer.format > FORMAT) {
    throw new CoreError(
      'CORE_INTERNAL',
      `storage was written by a newer version (format ${pointer.format}, this version reads up to ${FORMAT})`,
    )
  }
  return pointer
}

async function deletePrefix(physical: Store, prefix: string): Promise<void> {
  for (;;) {
    const keys: string[] = []
    for await (const [key] of physical.scan({ prefix, limit: DELETE_BATCH })) keys.push(key)
    if (keys.length === 0) return
    await transact(physical, async (transaction) => {
      for (const key of keys) await transaction.delete(key)
    })
  }
}
