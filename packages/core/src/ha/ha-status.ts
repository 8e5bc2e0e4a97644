/** `sys/ha-status`: the active node and those that stand by, as Vault's clients read it. */
import type { NodeRecord } from '../seal-life-cycle/node-registry.ts'
import type { StandbyEcho } from './forwarding-server.ts'
import type { NodeAbout } from './wire.ts'

/**
 * Standbys that have been heard of, over the cluster port or by what they note in the storage. A sealed one is none. Told by the active
 * node, `self`.
 */
export function haStatus(
  self: NodeAbout,
  noted: readonly NodeRecord[],
  echoes: readonly StandbyEcho[],
): Record<string, unknown>[] {
  const standbys = new Map<string, StandbyEcho>()
  for (const { name, clusterAddress, hostname, version, state, seenAt } of noted) {
    if (state === 'standby') standbys.set(name, { apiAddress: name, clusterAddress, hostname, version, at: seenAt })
  }
  for (const echo of echoes) {
    const known = standbys.get(echo.apiAddress)
    // Who has noted itself sealed or gone since is not brought back by an echo of before.
    if (known !== undefined) standbys.set(echo.apiAddress, { ...echo, at: Math.max(echo.at, known.at) })
  }
  standbys.delete(self.apiAddress)
  const items = [
    item(self, true, null),
    ...[...standbys.values()].map((standby) => item(standby, false, new Date(standby.at).toISOString())),
  ]
  return items.sort((one, other) => (one.api_address < other.api_address ? -1 : 1))
}

function item(about: NodeAbout, active: boolean, lastEcho: string | null) {
  return {
    hostname: about.hostname,
    api_address: about.apiAddress,
    cluster_address: about.clusterAddress,
    active_node: active,
    last_echo: lastEcho,
    version: about.version,
  }
}
