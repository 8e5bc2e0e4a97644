import { networkInterfaces } from 'node:os'

export interface Address {
  /** Without brackets. */
  host: string
  port: number
}

/** `host:port`, `[v6]:port`; undefined for anything else. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^:[\]\s/]*)):(\d{1,5})$/.exec(text.trim())
  const port = Number(match?.[3])
  if (match == null || port > 65_535) return undefined
  return { host: match[1] ?? (match[2] || '0.0.0.0'), port }
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** A host others can dial: a wildcard gives this machine's first outward address. */
export function dialableHost(host: string): string {
  if (host !== '0.0.0.0' && host !== '::') return host
  const outward = Object.values(networkInterfaces())
    .flat()
    .find((entry) => entry !== undefined && !entry.internal && entry.family === 'IPv4')
  return outward?.address ?? '127.0.0.1'
}
