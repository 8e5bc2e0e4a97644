/** The differences a check of the index has found, in the form in which they are reported. */
import type { PartitionId, ShippedClass } from '@lockstep/replication'
import type { ClassReport, IndexDifference, IndexReport } from './index-check.ts'

export interface DifferenceList {
  add(found: IndexDifference & { keyId: Uint8Array; repaired: boolean }): void
  report(): Pick<IndexReport, 'total' | 'differences' | 'repaired'>
  ofClass(name: ShippedClass): Pick<ClassReport, 'corrupted' | 'pages'>
}

const MAX_REPORTED = 1000

export function differenceList(): DifferenceList {
  const differences: IndexDifference[] = []
  /** First byte of the key id, and of each the second: at most 65,536 of a class, whatever is damaged. */
  const pages: Record<ShippedClass, Map<number, Set<number>>> = { replicated: new Map(), local: new Map() }
  let total = 0
  let repaired = 0
  return {
    add({ partition, key, problem, keyId, ...found }) {
      total++
      if (found.repaired) repaired++
      if (differences.length < MAX_REPORTED) differences.push({ partition, key, problem })
      const ofClass = pages[classOf(partition)]
      const [page, subpage] = keyId as unknown as [number, number]
      const subpages = ofClass.get(page)
      if (subpages) subpages.add(subpage)
      else ofClass.set(page, new Set([subpage]))
    },
    report: () => ({ total, differences, repaired }),
    ofClass(name) {
      const ascending = (numbers: Iterable<number>) => [...numbers].sort((a, b) => a - b)
      return {
        corrupted: pages[name].size > 0,
        pages: ascending(pages[name].keys()).map((page) => ({ page, subpages: ascending(pages[name].get(page)!) })),
      }
    },
  }
}

export function classOf(partition: PartitionId): ShippedClass {
  return partition.startsWith('local/') ? 'local' : 'replicated'
}
