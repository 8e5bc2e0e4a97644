/**
 * The report of `merkle-check`, in Vault's form: two subtrees (replicated, local), each of 256 pages, each of 256 subpages. A key's page is
 * the first byte of its key id, its subpage the second; that our forest has one tree per mount is not shown.
 */
import type { ShippedClass } from '@lockstep/replication'
import type { ClassReport, IndexReport } from '@lockstep/replication-driver'

/** SHA-1 size: clients expect roots of this length. */
const ROOT_BYTES = 20

export interface MerkleCorruptionReport {
  corrupted_root: boolean
  /** RFC 3339. */
  last_corruption_check_epoch: string
  corrupted_tree_map: { '1': CorruptedTree; '2': CorruptedTree }
}

interface CorruptedTree {
  corrupted_subtree_root: boolean
  /** Base64 of 20 bytes: what the index says. */
  root_hash: string
  tree_type: ShippedClass
  /** By page; null when nothing is corrupt. */
  corrupted_index_tuples_map: Record<string, { corrupted: boolean; subpages: number[] }> | null
}

/** Classes in which the index and the data differed. */
export function corruptedClasses({ classes }: Pick<IndexReport, 'classes'>): ShippedClass[] {
  return (Object.keys(classes) as ShippedClass[]).filter((storageClass) => classes[storageClass].corrupted)
}

export function merkleCorruptionReport(
  report: Pick<IndexReport, 'classes'>,
  checkedAt: number,
): MerkleCorruptionReport {
  return {
    corrupted_root: corruptedClasses(report).length > 0,
    last_corruption_check_epoch: new Date(checkedAt).toISOString(),
    corrupted_tree_map: { '1': tree('replicated', report.classes), '2': tree('local', report.classes) },
  }
}

function tree(type: ShippedClass, classes: IndexReport['classes']): CorruptedTree {
  const { corrupted, root, pages } = classes[type]
  return {
    corrupted_subtree_root: corrupted,
    root_hash: Buffer.from(root.subarray(0, ROOT_BYTES)).toString('base64'),
    tree_type: type,
    corrupted_index_tuples_map: tuples(pages),
  }
}

/** Hashes of inner nodes are computed from what is below, so a corrupt subpage is a corrupt page too. */
function tuples(pages: ClassReport['pages']): CorruptedTree['corrupted_index_tuples_map'] {
  if (pages.length === 0) return null
  return Object.fromEntries(pages.map(({ page, subpages }) => [String(page), { corrupted: true, subpages }]))
}
