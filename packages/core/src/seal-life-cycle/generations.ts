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

/** A generation that is filled while the current one is in use. One call of it or of `Generations` at a time. */
export interface StagedGeneration {
  /** Empty at first. */
  readonly store: Store
  /**
   * Makes it current, after `finish`, or never; `pill` as in `replace`. Rejects with CORE_UNAVAILABLE when another generation has become
   * current since.
   */
  activate(finish: () => Promise<void>, pill?: (context: string) => Uint8Array): Promise<void>
  /** Gives it up; it is deleted in the background. */
  discard(): Promise<void>
}

export interface Generations {
  /** The current generation's store. Closing it does nothing. */
  current(): Store
  /** Number of the current generation. */
  number(): number
  /** False once a change of the current generation has failed and could not be looked at: either may be it. */
  isKnown(): boolean
  /** Reads which generation is current, as another node may have changed it. */
  refresh(): Promise<void>
  /**
   * `fill` writes the next generation; it becomes current once `fill` resolves, or never. `pill` is asked for just before: what it
   * gives is kept for the nodes that still hold the keys of the generation that ends.
   */
  replace(fill: (next: Store) => Promise<void>, pill?: (context: string) => Uint8Array): Promise<void>
  /** One more generation, which the deletion of old ones leaves alone until it is given up. */
  stage(): Promise<StagedGeneration>
  /** What `pill` gave when the generation ended, and its context. */
  pill(generation: number): Promise<{ context: string; tag: Uint8Array } | undefined>
  /** Ends the deletion of old generations; what is left of them goes at the next start. */
  close(): Promise<void>
}

/** @param options.clean delete other generations than the current one: only for the node that writes. */
export async function openGenerations(physical: Store, log: Log, options: { clean: boolean }): Promise<Generations> {
  let pointer = await readPointer(physical)
  let stopped = false
  const staged = new Set<number>()
  /** A write of the pointer has failed, and may have been stored all the same: what it would make current is not deleted. */
  let inDoubt = false
  let known = true
  let cleaning = deleteOthers()

  async function save(change: Partial<Pointer>): Promise<void> {
    const changed = { ...pointer, ...change }
    const doubted = inDoubt
    inDoubt = true
    await physical.put(POINTER, new TextEncoder().encode(JSON.stringify(changed)))
    inDoubt = doubted && change.current === undefined
    pointer = changed
  }

  async function deleteOthers(): Promise<void> {
    if (!options.clean || inDoubt) return
    try {
      for (const child of await physical.list('')) {
        const number = /^g(\d+)\/$/.exec(child)?.[1]
        if (number === undefined || Number(number) === pointer.current || staged.has(Number(number))) continue
        await deletePrefix(child)
      }
    } catch (error) {
      if ((error as { code?: unknown }).code === 'STORAGE_CLOSED') return
      log.warn('deleting an old storage generation failed, it is tried again at the next start', {
        error: String(error),
      })
    }
  }

  async function deletePrefix(prefix: string): Promise<void> {
    while (!stopped) {
      const keys: string[] = []
      for await (const [key] of physical.scan({ prefix, limit: DELETE_BATCH })) keys.push(key)
      if (keys.length === 0) return
      await transact(physical, async (transaction) => {
        for (const key of keys) await transaction.delete(key)
      })
    }
  }

  async function stopCleaning(): Promise<void> {
    stopped = true
    await cleaning
  }

  function cleanAgain(): void {
    stopped = false
    cleaning = deleteOthers()
  }

  async function makeCurrent(next: number, pill: ((context: string) => Uint8Array) | undefined): Promise<void> {
    const key = pillKey(pointer.current)
    // One may be left of an attempt that failed.
    if (pill === undefined) await physical.delete(key)
    else await physical.put(key, pill(key))
    try {
      await save({ current: next })
    } catch (error) {
      known = false
      pointer = await readPointer(physical)
      known = true
      if (pointer.current !== next) throw error
    }
  }

  return {
    current: () => prefixedStore(physical, `g${pointer.current}/`),
    number: () => pointer.current,
    isKnown: () => known,
    async refresh() {
      pointer = await readPointer(physical)
    },
    async replace(fill, pill) {
      await stopCleaning()
      const next = pointer.next
      await save({ next: next + 1 })
      try {
        await fill(prefixedStore(physical, `g${next}/`))
        await makeCurrent(next, pill)
      } finally {
        cleanAgain()
      }
    },
    async stage() {
      const number = pointer.next
      const before = pointer.current
      await save({ next: number + 1 })
      staged.add(number)
      return {
        store: prefixedStore(physical, `g${number}/`),
        async activate(finish, pill) {
          if (!staged.has(number) || pointer.current !== before) {
            throw new CoreError('CORE_UNAVAILABLE', 'the storage was replaced meanwhile, nothing was changed')
          }
          await stopCleaning()
          try {
            await finish()
            await makeCurrent(number, pill)
            staged.delete(number)
          } finally {
            cleanAgain()
          }
        },
        async discard() {
          if (!staged.delete(number)) return
          await stopCleaning()
          cleanAgain()
        },
      }
    },
    async pill(generation) {
      const context = pillKey(generation)
      const tag = await physical.get(context)
      return tag && { context, tag }
    },
    close: stopCleaning,
  }
}

/** Outside of the generations, so that it outlives the one it speaks of. */
function pillKey(generation: number): string {
  return `poison-pill/g${generation}`
}

async function readPointer(physical: Store): Promise<Pointer> {
  const stored = await physical.get(POINTER)
  if (stored === undefined) return { format: FORMAT, current: 0, next: 1 }
  let pointer: Pointer
  try {
    pointer = JSON.parse(new TextDecoder().decode(stored)) as Pointer
  } catch (cause) {
    throw new CoreError('CORE_INTERNAL', `stored record ${POINTER} is not JSON`, { cause })
  }
  if (!(pointer.format <= FORMAT)) {
    throw new CoreError(
      'CORE_INTERNAL',
      `storage was written by a newer version (format ${pointer.format}, this version reads up to ${FORMAT})`,
    )
  }
  if (!Number.isSafeInteger(pointer.current) || !Number.isSafeInteger(pointer.next)) {
    throw new CoreError('CORE_INTERNAL', `stored record ${POINTER}: current or next is not a whole number`)
  }
  return pointer
}
