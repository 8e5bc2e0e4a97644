/** The receiver's own check of every entry, by the storage classes it knows itself. */
import { CLASSES_OF_KIND, type LinkKind, type WalOperation } from '@lockstep/replication'
import type { ClassRules } from '@lockstep/storage-classes'

/** An `accept` for `followPrimary`: takes an entry whose key belongs in the partition it was sent for, on this kind of link. */
export function acceptTagged(
  classes: Pick<ClassRules, 'verifyTagged'>,
  kind: LinkKind,
): (entry: WalOperation) => true | string {
  const options = { classes: CLASSES_OF_KIND[kind] }
  return ({ key, partition }) => {
    try {
      classes.verifyTagged(key, partition, options)
      return true
    } catch (error) {
      return (error as Error).message
    }
  }
}
