/** What the primary makes of a hello. */
import type { Hello, RefusalCode, VersionRange } from '../messages.ts'
import type { Cursor } from '../types.ts'
import type { PrimaryComponents } from './contract.ts'

/** Why the secondary is turned away. */
export function whyRefused(
  hello: Hello,
  components: PrimaryComponents,
  speaks: VersionRange,
): [RefusalCode, string] | undefined {
  const { min, max } = hello.protocol
  if (max < speaks.min || min > speaks.max) {
    const older = max < speaks.min ? 'secondary' : 'primary'
    return [
      'version',
      `the primary speaks protocol ${speaks.min} to ${speaks.max}, the secondary ${min} to ${max}: upgrade the ${older}`,
    ]
  }
  if (hello.kind !== components.kind) return ['kind', `this is a ${components.kind} link, not ${hello.kind}`]
  if (hello.secondaryId !== components.secondaryId) {
    return ['unknown', 'the secondary id is not the one in the certificate']
  }
  if (hello.clusterId !== '' && hello.clusterId !== components.clusterId) {
    return ['cluster', 'the secondary belongs to another replication set']
  }
  const { epoch } = components.log.head()
  if (hello.epoch > epoch) {
    return [
      'fenced',
      `this primary is in epoch ${epoch}, but the secondary has followed epoch ${hello.epoch}: another cluster was promoted since`,
    ]
  }
  return undefined
}

/** Why the secondary cannot simply stream on, as far as it can be told without reading the log. */
export function whyDiff(hello: Hello, { log, view }: PrimaryComponents): string | undefined {
  const { cursor } = hello
  if (cursor === null) return 'the secondary is new, or its last sync was interrupted'
  if (hello.view !== view.id) return 'the paths filter or a mount it speaks of has changed'
  if (cursor.index < log.oldest() - 1) return trimmedAt(cursor.index)
  return undefined
}

/** Why there is no digest to compare with. */
export function whyUnknown({ index }: Cursor, { log }: PrimaryComponents): string {
  const head = log.head()
  return index > head.index ? `the secondary is at index ${index}, this log ends at ${head.index}` : trimmedAt(index)
}

export function trimmedAt(index: number): string {
  return `the log no longer reaches back to index ${index}`
}
