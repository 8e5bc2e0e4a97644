/** Children of a token being created: its revocation waits for them, so that none escapes the cascade. */
export interface Births {
  /** Call the result when the child is stored or given up. */
  begin(parent: string): () => void
  settled(parent: string): Promise<void>
}

export function births(): Births {
  const running = new Map<string, Set<Promise<void>>>()
  return {
    begin(parent) {
      let end = () => {}
      const birth = new Promise<void>((resolve) => {
        end = resolve
      })
      const siblings = running.get(parent) ?? new Set()
      running.set(parent, siblings.add(birth))
      return () => {
        siblings.delete(birth)
        if (siblings.size === 0 && running.get(parent) === siblings) running.delete(parent)
        end()
      }
    },
    async settled(parent) {
      await Promise.all(running.get(parent) ?? [])
    },
  }
}
