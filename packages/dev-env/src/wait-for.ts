/** Calls `probe` until it gives something other than undefined or false. Rejects after `timeoutMs` (default 60 s) with the last error. */
export async function waitFor<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  options: { timeoutMs?: number; intervalMs?: number } = {},
): Promise<T> {
  const deadline = Date.now() + (options.timeoutMs ?? 60_000)
  let cause: unknown
  for (;;) {
    try {
      const found = await probe()
      if (found !== undefined && found !== false) return found
      cause = undefined
    } catch (error) {
      cause = error
    }
    if (Date.now() > deadline) throw new Error(`timed out waiting for ${what}`, { cause })
    await new Promise((resolve) => setTimeout(resolve, options.intervalMs ?? 50))
  }
}
