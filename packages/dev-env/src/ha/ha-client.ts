/** Clients of a cluster of several nodes: one that looks for the active node, and one that asks any node and goes where it is sent. */
import { type CallOptions, clientOver, type VaultClient, type VaultReply, vaultClient } from '../vault-client.ts'

const LOCATE_TIMEOUT_MS = 30_000
const HEALTH_TIMEOUT_MS = 1_000
/** How long the node that was active is taken for active without asking again. */
const TRUSTED_MS = 200
const MAX_REDIRECTS = 3
const ACTIVE: readonly number[] = [200, 472, 473]

/**
 * Looks for the active node by `sys/health` before a call, and waits up to 30 s for one. A call that got no answer may have been carried
 * out and is not repeated.
 */
export function activeClient(addresses: readonly string[], token = ''): VaultClient {
  const clients = addresses.map((address) => vaultClient(address))
  let at = 0
  let seenAt = 0

  async function isActive(client: VaultClient): Promise<boolean> {
    const options = { token: '', timeoutMs: HEALTH_TIMEOUT_MS }
    const reply = await client.call('GET', 'sys/health', undefined, options).catch(() => undefined)
    if (reply === undefined || !ACTIVE.includes(reply.status)) return false
    // On a DR secondary every node says 472.
    return reply.status !== 472 || (await leads(client))
  }

  async function locate(): Promise<VaultClient> {
    if (Date.now() - seenAt < TRUSTED_MS) return clients[at]!
    const deadline = Date.now() + LOCATE_TIMEOUT_MS
    for (;;) {
      for (const offset of clients.keys()) {
        const next = (at + offset) % clients.length
        if (!(await isActive(clients[next]!))) continue
        at = next
        seenAt = Date.now()
        return clients[at]!
      }
      if (Date.now() > deadline) throw new Error(`no active node among ${addresses.join(', ')}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  return clientOver({
    address: addresses[0]!,
    token,
    async call(method, path, body, options) {
      const client = await locate()
      try {
        const reply = await client.call(method, path, body, options)
        if (reply.status === 503 || reply.status === 307) seenAt = 0
        return reply
      } catch (error) {
        seenAt = 0
        throw error
      }
    },
    close() {
      for (const client of clients) client.close()
    },
  })
}

/** By `sys/leader`. */
export async function leads(client: VaultClient): Promise<boolean> {
  const options = { token: '', timeoutMs: HEALTH_TIMEOUT_MS }
  const reply = await client.call('GET', 'sys/leader', undefined, options).catch(() => undefined)
  return reply?.body?.is_self === true
}

/**
 * Asks one node, `first`, as long as that node answers, and follows its redirects. When there is no answer, or the answer is that the node cannot serve (429,
 * 472, 473, 503), the next call goes to the next node; the call itself is only repeated when the connection was refused.
 */
export function anyNodeClient(addresses: readonly string[], first = 0, token = ''): VaultClient {
  const clients = new Map(addresses.map((address) => [address, vaultClient(address)]))
  let at = first % addresses.length

  async function follow(
    address: string,
    method: string,
    path: string,
    body: unknown,
    options: CallOptions,
  ): Promise<VaultReply> {
    let to = address
    for (let redirects = 0; ; redirects++) {
      const reply = await clients.get(to)!.call(method, path, body, options)
      const location = reply.headers.location
      if (reply.status !== 307 || typeof location !== 'string' || redirects === MAX_REDIRECTS) return reply
      to = new URL(location).origin
      if (!clients.has(to)) throw new Error(`redirected to ${to}, which is no node of this cluster`)
    }
  }

  return clientOver({
    address: addresses[at]!,
    token,
    async call(method, path, body, options) {
      for (let attempt = 0; ; attempt++) {
        try {
          const reply = await follow(addresses[at]!, method, path, body, options)
          if ([307, 429, 472, 473, 503].includes(reply.status)) at = (at + 1) % addresses.length
          return reply
        } catch (error) {
          at = (at + 1) % addresses.length
          const refused = (error as { code?: unknown }).code === 'ECONNREFUSED'
          if (!refused || attempt === addresses.length) throw error
        }
      }
    },
    close() {
      for (const client of clients.values()) client.close()
    },
  })
}
