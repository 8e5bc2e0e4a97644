/** Vault's names for hashes. */
const algorithms = {
  sha1: { node: 'sha1', length: 20, oid: '2b0e03021a' },
  'sha2-224': { node: 'sha224', length: 28, oid: '608648016503040204' },
  'sha2-256': { node: 'sha256', length: 32, oid: '608648016503040201' },
  'sha2-384': { node: 'sha384', length: 48, oid: '608648016503040202' },
  'sha2-512': { node: 'sha512', length: 64, oid: '608648016503040203' },
  'sha3-224': { node: 'sha3-224', length: 28, oid: '608648016503040207' },
  'sha3-256': { node: 'sha3-256', length: 32, oid: '608648016503040208' },
  'sha3-384': { node: 'sha3-384', length: 48, oid: '608648016503040209' },
  'sha3-512': { node: 'sha3-512', length: 64, oid: '60864801650304020a' },
}

export interface HashAlgorithm {
  /** node:crypto's name. */
  node: string
  /** Bytes of a digest. */
  length: number
  /** DER body of the object identifier, hex. */
  oid: string
}

export function hashAlgorithm(name: string): HashAlgorithm | undefined {
  return Object.hasOwn(algorithms, name) ? algorithms[name as keyof typeof algorithms] : undefined
}
