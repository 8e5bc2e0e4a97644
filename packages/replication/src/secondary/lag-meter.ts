/**
 * How far behind the primary a secondary knows itself to be. Time since the last applied record would show lag on an idle
 * primary; this counts from the moment a newer record was first heard of.
 */
export interface LagMeter {
  /** Newest index of the primary that was heard of. */
  readonly head: number
  heard(index: number, now: number): void
  applied(index: number): void
  lagMs(now: number): number
}

export function lagMeter(): LagMeter {
  let head = 0
  let applied = 0
  /** Heads heard of and not reached yet, with the time each was heard first. */
  const ahead: { index: number; at: number }[] = []
  return {
    get head() {
      return head
    },
    heard(index, now) {
      if (index <= head) return
      head = index
      if (index <= applied) return
      // A bounded memory: past it, the newest place takes later news and lag is told too high rather than too low.
      if (ahead.length < 1024) ahead.push({ index, at: now })
      else ahead[ahead.length - 1]!.index = index
    },
    applied(index) {
      applied = index
      while (ahead.length > 0 && ahead[0]!.index <= index) ahead.shift()
    },
    lagMs: (now) => (ahead.length === 0 ? 0 : Math.max(0, now - ahead[0]!.at)),
  }
}
