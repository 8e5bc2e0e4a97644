import { BlockList, isIP } from 'node:net'

/** Compiled address ranges; an empty list contains every address. */
export interface AddressRanges {
  contains(address: string): boolean
}

/** @param ranges addresses or CIDR blocks that `cidrProblem` accepts */
export function addressRanges(ranges: readonly string[]): AddressRanges {
  if (ranges.length === 0) return { contains: () => true }
  const list = new BlockList()
  for (const range of ranges) {
    const { address, prefix, family } = parse(range)!
    list.addSubnet(address, prefix, family)
  }
  return {
    contains(address) {
      const plain = unmapped(address)
      const version = isIP(plain)
      return version !== 0 && list.check(plain, version === 6 ? 'ipv6' : 'ipv4')
    },
  }
}

/** Whether the text is a CIDR block, or a single address where `allowAddress`. */
export function isCidr(text: string, allowAddress: boolean): boolean {
  return (allowAddress || text.includes('/')) && parse(text) !== undefined
}

/** A block of one address is shown as the address. */
export function shortCidr(text: string): string {
  const suffix = text.includes(':') ? '/128' : '/32'
  return text.endsWith(suffix) ? text.slice(0, -suffix.length) : text
}

/** Whether each of `inner` lies within one of `outer`. */
export function isSubset(inner: readonly string[], outer: readonly string[]): boolean {
  return inner.every((text) => {
    const block = parse(text)
    return (
      block !== undefined &&
      outer.some((each) => {
        const around = parse(each)
        return (
          around !== undefined &&
          around.family === block.family &&
          around.prefix <= block.prefix &&
          addressRanges([each]).contains(block.address)
        )
      })
    )
  })
}

interface Block {
  address: string
  prefix: number
  family: 'ipv4' | 'ipv6'
}

function parse(text: string): Block | undefined {
  const [address = '', prefixText, ...rest] = text.split('/')
  const version = isIP(address)
  if (version === 0 || rest.length > 0 || address.includes('%')) return undefined
  const bits = version === 6 ? 128 : 32
  if (prefixText !== undefined && !/^[0-9]{1,3}$/.test(prefixText)) return undefined
  const prefix = prefixText === undefined ? bits : Number(prefixText)
  if (prefix > bits) return undefined
  return { address, prefix, family: version === 6 ? 'ipv6' : 'ipv4' }
}

// A dual-stack listener reports IPv4 peers as ::ffff:a.b.c.d.
function unmapped(address: string): string {
  return /^::ffff:\d+\.\d+\.\d+\.\d+$/i.test(address) ? address.slice(7) : address
}
