/** A process and all that come from it, by their parent in /proc (Linux). */
import { readdirSync, readFileSync } from 'node:fs'

/** The parent first. */
export function processTree(root: number): number[] {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid)) continue
    const parent = parentOf(pid)
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), pid])
  }
  const tree = [root]
  for (const pid of tree) tree.push(...(children.get(pid) ?? []))
  return tree
}

/** To the parent first, so that a stopped one makes no more children; then to those that came meanwhile, too. */
export function signalTree(root: number, signal: NodeJS.Signals): void {
  const done = new Set<number>()
  for (;;) {
    const next = processTree(root).filter((pid) => !done.has(pid))
    if (next.length === 0) return
    for (const pid of next) {
      done.add(pid)
      try {
        process.kill(pid, signal)
      } catch {
        // It ended meanwhile.
      }
    }
  }
}

function parentOf(pid: number): number | undefined {
  try {
    // The name, in parentheses, may hold anything; state and parent follow it.
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return undefined
  }
}
