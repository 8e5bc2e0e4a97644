import { refuse } from './transit-key.ts'

const prefix = 'vault:v'

/** `vault:v<version>:<payload>`, the form of ciphertexts, signatures and HMACs. */
export function versionedText(version: number, payload: string): string {
  return `${prefix}${version}:${payload}`
}

/** @param what "ciphertext", "signature" or "HMAC", for error texts */
export function parseVersionedText(text: string, what: string): { version: number; payload: string } {
  if (!text.startsWith(prefix)) refuse(`invalid ${what}: no prefix`)
  const colon = text.indexOf(':', prefix.length)
  if (colon === -1) refuse(`invalid ${what}: wrong number of fields`)
  const digits = text.slice(prefix.length, colon)
  if (!/^[0-9]{1,9}$/.test(digits)) refuse(`invalid ${what}: version number could not be decoded`)
  return { version: Number(digits), payload: text.slice(colon + 1) }
}
