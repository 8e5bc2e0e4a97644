import { formatDuration } from '@lockstep/backend'
import type { ServerConfig } from '../config/server-config.ts'
import { VERSION_LINE } from './usage.ts'

/** What the server will run with. `addresses` are as bound. */
export function banner(config: ServerConfig, addresses: readonly string[]): string {
  const rows: [string, string][] = [
    ['Api Address', config.apiAddr],
    ['Cluster Address', config.clusterAddr],
    ...config.listeners.map((listener, index): [string, string] => [
      `Listener ${index + 1}`,
      `tcp (addr: "${addresses[index]}", cluster address: "${listener.clusterAddress}", max_request_duration: ` +
        `"${formatDuration(listener.maxRequestDuration / 1000)}", max_request_size: "${listener.maxRequestSize}", ` +
        `tls: "${listener.tls ? 'enabled' : 'disabled'}")`,
    ]),
    ['Log Level', config.logLevel],
    ['Node', process.version],
    ['Seal', config.seal?.type ?? 'shamir'],
    ['Storage', config.storage.type],
    ['Version', VERSION_LINE],
  ]
  const width = Math.max(...rows.map(([name]) => name.length)) + 5
  const lines = rows.map(([name, value]) => `${name.padStart(width)}: ${value}`)
  return `==> Lockstep server configuration:\n\n${lines.join('\n')}\n\n==> Lockstep server started! Log data will stream in below:\n\n`
}

export function devNotice(apiAddr: string, unsealKey: string | undefined, rootToken: string): string {
  const key = unsealKey === undefined ? '' : `Unseal Key: ${unsealKey}\n`
  return `WARNING: dev mode. Everything is kept in memory and is gone when the server stops; it started unsealed,
with a single unseal key. Do not put real secrets into it.

Point your clients at it with:

    $ export VAULT_ADDR='${apiAddr}'

${key}Root Token: ${rootToken}

`
}
