const LANES = 16

/** Works on every item, `LANES` at a time. Rejects with the first failure; items not begun by then are left. */
export async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values()
  const lane = async () => {
    for (const item of rest) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(LANES, items.length) }, lane))
}
