/** One holder at a time, first come first served. Taking it uncontended costs no promise. */
export interface Exclusion {
  /** Undefined when taken at once, else resolves when it is this caller's turn. */
  enter(): Promise<void> | undefined
  leave(): void
  run<T>(body: () => Promise<T>): Promise<T>
}

export function exclusion(): Exclusion {
  let held = false
  const waiting: (() => void)[] = []
  const enter = () => {
    if (held) return new Promise<void>((resolve) => waiting.push(resolve))
    held = true
    return undefined
  }
  const leave = () => {
    const next = waiting.shift()
    if (next) next()
    else held = false
  }
  return {
    enter,
    leave,
    async run(body) {
      await enter()
      try {
        return await body()
      } finally {
        leave()
      }
    },
  }
}
