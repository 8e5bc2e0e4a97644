import { TransportError } from './errors.ts'
import { DEFAULT_CLUSTER_PORT } from './protocols.ts'

export interface Address {
  host: string
  port: number
  /** For messages. */
  text: string
}

/** `host`, `host:port`, `[v6]`, `[v6]:port`, each with or without `https://` before it (as operators write cluster addresses). */
export function parseAddress(input: string): Address {
  const text = input.trim()
  const match = /^(?:https:\/\/)?(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?\/?$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = match?.[3] === undefined ? DEFAULT_CLUSTER_PORT : Number(match[3])
  if (host === undefined || port < 1 || port > 65_535) {
    throw new TransportError('TRANSPORT_INVALID', `${JSON.stringify(text.slice(0, 100))} is not a cluster address`)
  }
  return { host, port, text: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}` }
}
