const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
/** The greatest multiple of 62 in a byte: bytes above it would favour the first letters. */
const fair = 248

/** `length` unbiased base62 characters (5.95 bits each) from a source of random bytes. */
export function randomBase62(random: (bytes: number) => Uint8Array, length: number): string {
  let text = ''
  while (text.length < length) {
    for (const byte of random(length - text.length + 4)) {
      if (byte < fair && text.length < length) text += alphabet[byte % 62]
    }
  }
  return text
}

/** A name of `length` base62 characters made from the first bytes of a digest. */
export function digestBase62(digest: Uint8Array, length: number): string {
  let text = ''
  for (let index = 0; index < length; index++) text += alphabet[digest[index]! % 62]
  return text
}
