/**
 * Arithmetic in GF(2^8) with the AES polynomial x^8 + x^4 + x^3 + x + 1. No tables and no branches on operands, so time and
 * memory access do not depend on secrets. Addition is XOR.
 */

/** Both operands and the result are bytes. */
export function multiply(a: number, b: number): number {
  let product = 0
  let factor = a
  for (let bit = 0; bit < 8; bit++) {
    product ^= -((b >> bit) & 1) & factor
    factor = ((factor << 1) ^ (-(factor >> 7) & 0x11b)) & 0xff
  }
  return product
}

/** a^254, which is 1/a for every a but 0, and 0 for 0. */
export function invert(a: number): number {
  let power = a
  let result = 1
  // 254 = 2 + 4 + 8 + 16 + 32 + 64 + 128
  for (let i = 0; i < 7; i++) {
    power = multiply(power, power)
    result = multiply(result, power)
  }
  return result
}
