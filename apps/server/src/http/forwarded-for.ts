/** X-Forwarded-For, believed only from authorized addresses. The rules and messages are those of Vault's tcp listener. */
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP } from 'node:net'
import { HttpError } from './http-error.ts'

export interface ForwardedForOptions {
  /** Addresses or CIDR ranges of the proxies. None: the header is ignored. */
  authorizedAddrs: readonly string[]
  /** How many of the last entries belong to trusted proxies. Default 0. */
  hopSkips: number
  /** Default true. */
  rejectNotPresent: boolean
  /** Default true. */
  rejectNotAuthorized: boolean
}

/** The client's address for audit and CIDR bindings. Throws 400 where the configuration says reject. */
export type RemoteAddress = (request: IncomingMessage) => string

export function remoteAddress(options: ForwardedForOptions): RemoteAddress {
  if (options.authorizedAddrs.length === 0) return socketAddress
  const authorized = addressList(options.authorizedAddrs)
  return (request) => {
    const direct = socketAddress(request)
    const header = request.headers['x-forwarded-for']
    if (header === undefined) {
      if (!options.rejectNotPresent) return direct
      throw new HttpError(400, 'missing x-forwarded-for header and configured to reject when not present')
    }
    if (!authorized.check(direct, isIP(direct) === 6 ? 'ipv6' : 'ipv4')) {
      if (!options.rejectNotAuthorized) return direct
      throw new HttpError(400, 'client address not authorized for x-forwarded-for and configured to reject connection')
    }
    const chain = String(header).split(',')
    const index = chain.length - 1 - options.hopSkips
    if (index < 0) {
      throw new HttpError(
        400,
        `malformed x-forwarded-for configuration or request, hops to skip (${options.hopSkips}) would skip before earliest chain link (chain length ${chain.length})`,
      )
    }
    const address = chain[index]!.trim()
    if (isIP(address) === 0) throw new HttpError(400, 'malformed x-forwarded-for address')
    return address
  }
}

/** Throws RangeError for what is neither an address nor a range. */
export function addressList(ranges: readonly string[]): BlockList {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', bits] = range.trim().split('/')
    const family = isIP(address)
    if (family === 0) throw new RangeError(`'${range}' is neither an IP address nor a CIDR range`)
    const type = family === 6 ? 'ipv6' : 'ipv4'
    if (bits === undefined) list.addAddress(address, type)
    else if (/^\d{1,3}$/.test(bits)) list.addSubnet(address, Number(bits), type)
    else throw new RangeError(`'${range}' is neither an IP address nor a CIDR range`)
  }
  return list
}

/** A dual-stack socket shows IPv4 peers as `::ffff:a.b.c.d`. */
function socketAddress(request: IncomingMessage): string {
  const address = request.socket.remoteAddress ?? ''
  return address.startsWith('::ffff:') ? address.slice(7) : address
}
