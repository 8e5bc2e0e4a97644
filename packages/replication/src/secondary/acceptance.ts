import { CLASSES_OF_KIND, type EntryGroup } from '../messages.ts'
import { type PartitionId, parsePartitionId, type WalOperation } from '../types.ts'
import type { SecondaryComponents } from './contract.ts'

/** The receiver's half of the filter: what a secondary must not hold ends the link before anything of it is stored. */
export interface Acceptance {
  /** Whether partitions of this id travel on the link at all; the composed root of this end counts exactly these. */
  inScope(id: PartitionId): boolean
  /** Undefined when all is well, else why not. Names the partition, never a key. */
  refusal(group: EntryGroup): string | undefined
}

export function acceptance({ kind, accept }: Pick<SecondaryComponents, 'kind' | 'accept'>): Acceptance {
  const prefixes = CLASSES_OF_KIND[kind].map((name) => `${name}/`)
  const inScope = (id: PartitionId) => prefixes.some((prefix) => id.startsWith(prefix))
  return {
    inScope,
    refusal(group) {
      if (!inScope(group.partition)) return `${group.partition} does not belong on a ${kind} link`
      for (const operation of operationsOf(group)) {
        const verdict = accept(operation)
        if (verdict !== true) return `an entry of ${group.partition}: ${verdict}`
      }
      return undefined
    },
  }
}

export function* operationsOf({ partition, mountPath, keys, values }: EntryGroup): Generator<WalOperation> {
  const parsed = parsePartitionId(partition)!
  for (let i = 0; i < keys.length; i++) {
    yield { partition: parsed, mountPath, key: keys[i]!, value: values[i] ?? undefined }
  }
}
