/** Whether this cluster's other nodes could take over. */
import { type Found, ok } from './diagnostics.ts'

export interface NodeFacts {
  name: string
  state: string
  /** ms since the epoch. */
  seenAt: number
}

export function nodesCheck(nodes: readonly NodeFacts[] | undefined): Found[] {
  if (nodes === undefined) return [ok('nodes', 'this cluster is one node')]
  const sealed = nodes.filter(({ state }) => state === 'sealed')
  if (sealed.length === 0) return [ok('nodes', `${nodes.length} nodes seen, none of them sealed`)]
  return sealed.map(({ name }) => ({
    ...{ check: 'nodes', status: 'warning', cause: 'sealed', subject: name },
    detail: 'this node is sealed: it cannot take over',
    remedy: "Unseal it; after this cluster became a secondary with the primary's unseal keys.",
  }))
}
