import { BlockList, isIP } from 'node:net'
import type { TokenEntry } from '../contracts.ts'

const lists = new WeakMap<readonly string[], BlockList>()

/** Whether a token may be used from `address`. A token without bound CIDRs may be used from anywhere. */
export function withinBoundCidrs(token: TokenEntry, address: string): boolean {
  if (token.boundCidrs.length === 0) return true
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  const plain = mapped?.[1] ?? address
  const family = isIP(plain)
  if (family === 0) return false
  return blockList(token.boundCidrs).check(plain, family === 4 ? 'ipv4' : 'ipv6')
}

function blockList(cidrs: readonly string[]): BlockList {
  let list = lists.get(cidrs)
  if (list === undefined) {
    list = new BlockList()
    for (const cidr of cidrs) add(list, cidr)
    lists.set(cidrs, list)
  }
  return list
}

// An entry that is no network admits nobody.
function add(list: BlockList, cidr: string): void {
  const slash = cidr.indexOf('/')
  const network = slash === -1 ? cidr : cidr.slice(0, slash)
  const family = isIP(network)
  const bits = slash === -1 ? (family === 4 ? 32 : 128) : Number(cidr.slice(slash + 1))
  if (family === 0 || !Number.isInteger(bits) || bits < 0 || bits > (family === 4 ? 32 : 128)) return
  list.addSubnet(network, bits, family === 4 ? 'ipv4' : 'ipv6')
}
