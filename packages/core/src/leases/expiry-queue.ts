/**
 * Which lease expires next. A binary heap over an id→time map, so that moving or dropping an id is one map write and heap entries
 * that no longer agree with the map are skipped when they surface. Holds at most `limit` ids: past that it lets go of the latest
 * ones and remembers their earliest time as `horizon`, before which the owner must read them in again from storage.
 */
export interface ExpiryQueue {
  /** Ids held. */
  readonly size: number
  /** Infinity when nothing was let go. */
  readonly horizon: number
  /** Inserts or moves. */
  set(id: string, at: number): void
  remove(id: string): void
  /** The earliest time held; Infinity when empty. */
  next(): number
  /** Takes out the earliest id whose time is at or before `now`. */
  take(now: number): string | undefined
  /** Forgets the horizon; the owner is about to `set` everything from storage again. */
  refill(): void
  clear(): void
}

interface HeapItem {
  id: string
  at: number
}

export function expiryQueue(limit: number): ExpiryQueue {
  const times = new Map<string, number>()
  let heap: HeapItem[] = []
  let horizon = Number.POSITIVE_INFINITY

  function push(item: HeapItem): void {
    let index = heap.push(item) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (heap[parent]!.at <= item.at) break
      heap[index] = heap[parent]!
      index = parent
    }
    heap[index] = item
  }

  function pop(): void {
    const last = heap.pop()!
    if (heap.length === 0) return
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child++
      if (heap[child]!.at >= last.at) break
      heap[index] = heap[child]!
      index = child
    }
    heap[index] = last
  }

  /** Drops stale items off the top. */
  function top(): HeapItem | undefined {
    for (let item = heap[0]; item !== undefined; item = heap[0]) {
      if (times.get(item.id) === item.at) return item
      pop()
    }
    return undefined
  }

  /** Rebuilds the heap from the map, keeping the earliest `keep` ids. A sorted array is a heap. */
  function rebuild(keep: number): void {
    heap = [...times].map(([id, at]) => ({ id, at })).sort((a, b) => a.at - b.at)
    for (const { id, at } of heap.splice(keep)) {
      times.delete(id)
      horizon = Math.min(horizon, at)
    }
  }

  return {
    get size() {
      return times.size
    },
    get horizon() {
      return horizon
    },
    set(id, at) {
      if (at >= horizon) {
        times.delete(id)
        return
      }
      if (times.get(id) === at) return
      times.set(id, at)
      push({ id, at })
      if (times.size > limit) rebuild(limit >> 1)
      else if (heap.length > 2 * times.size + 1024) rebuild(times.size)
    },
    remove(id) {
      times.delete(id)
    },
    next() {
      return top()?.at ?? Number.POSITIVE_INFINITY
    },
    take(now) {
      const item = top()
      if (item === undefined || item.at > now) return undefined
      pop()
      times.delete(item.id)
      return item.id
    },
    refill() {
      horizon = Number.POSITIVE_INFINITY
    },
    clear() {
      times.clear()
      heap = []
      horizon = Number.POSITIVE_INFINITY
    },
  }
}
