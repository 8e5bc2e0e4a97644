/** Runs `body` when what was begun before it is over, whether that failed or not. */
export type TransitionOrder = <T>(body: () => Promise<T>) => Promise<T>

export function transitionOrder(): TransitionOrder {
  let last: Promise<unknown> = Promise.resolve()
  return (body) => {
    const next = last.then(body, body)
    last = next.catch(() => {})
    return next
  }
}
