import type { Store } from '@lockstep/storage'
import { interceptedWrites } from '../intercepted-writes.ts'

export interface HeldStore extends Store {
  /** From now on writes wait: a disk that hangs. Reads go on. */
  hold(): void
  release(): void
}

export function heldStore(inner: Store): HeldStore {
  let held: { promise: Promise<void>; resolve(): void } | undefined
  async function write<T>(body: () => Promise<T>): Promise<T> {
    await held?.promise
    return body()
  }
  return {
    ...interceptedWrites(inner, write),
    hold() {
      let resolve = (): void => {}
      const promise = new Promise<void>((done) => {
        resolve = done
      })
      held ??= { promise, resolve }
    },
    release() {
      held?.resolve()
      held = undefined
    },
  }
}
