/** The cluster addresses of this cluster's own nodes, as the other end of a link is told of them. */
import type { Log } from '../../contracts.ts'
import type { NodeRecord } from '../../seal-life-cycle/node-registry.ts'
import { periodicWork } from '../../services/periodic-work.ts'

export interface ClusterAddresses {
  /** This node's own first, which leads; then those of the others, unsealed ones before sealed ones. Never empty. */
  current(): string[]
  /** Looks for the others from now on. */
  start(): void
  stop(): Promise<void>
}

/** Nodes note their state every 5 s. */
const LOOK_MS = 2_000

/** `nodes` undefined: this node is the only one. */
export function clusterAddresses(
  log: Log,
  own: string,
  nodes: (() => Promise<Pick<NodeRecord, 'clusterAddress' | 'state'>[]>) | undefined,
): ClusterAddresses {
  let others: string[] = []
  if (nodes === undefined) return { current: () => [own], start() {}, stop: async () => {} }

  async function look(): Promise<void> {
    const found = await nodes!().catch((error: unknown) => {
      // What was known is still the best guess.
      log.debug('the nodes of this cluster cannot be listed', { error: String(error) })
      return undefined
    })
    if (found === undefined) return
    const known = found.filter(({ clusterAddress }) => clusterAddress !== '' && clusterAddress !== own)
    const sealed = ({ state }: Pick<NodeRecord, 'state'>): number => (state === 'sealed' ? 1 : 0)
    others = known.sort((a, b) => sealed(a) - sealed(b)).map(({ clusterAddress }) => clusterAddress)
  }
  let running: { first: Promise<void>; stop(): Promise<void> } | undefined
  return {
    current: () => [...new Set([own, ...others])],
    start() {
      running ??= { first: look(), stop: periodicWork(log, look, LOOK_MS) }
    },
    async stop() {
      await Promise.all([running?.first, running?.stop()])
    },
  }
}
