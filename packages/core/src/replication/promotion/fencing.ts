/** How a primary learns that another cluster was promoted: a secondary that comes back has followed a later epoch than its own. */
import type { Link } from '@lockstep/replication'
import { observedLink } from '../observed-link.ts'

/** A secondary's word for a later epoch, kept by the primary it came to. */
export interface FencedRecord {
  epoch: number
  /** The secondary that said so. */
  by: string
  /** ms since the epoch. */
  at: number
}

/** The link as it is; `onEpoch` is told the epoch in the hello, which is its first message. */
export function watchingHello(link: Link, onEpoch: (hello: { clusterId: string; epoch: number }) => void): Link {
  let first = true
  return observedLink(link, (message) => {
    if (first && message.type === 'hello') onEpoch(message)
    first = false
  })
}
