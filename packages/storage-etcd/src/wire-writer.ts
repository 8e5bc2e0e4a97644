/**
 * Writes protobuf from the end to the front: when a nested message is done its length is known, so nothing is measured
 * or copied twice. Fields therefore go in last first.
 */
export class WireWriter {
  #buffer: Buffer
  /** Where the written part begins. */
  #at: number

  constructor(estimate = 256) {
    this.#buffer = Buffer.allocUnsafe(estimate)
    this.#at = estimate
  }

  get length(): number {
    return this.#buffer.byteLength - this.#at
  }

  finish(): Buffer {
    return this.#buffer.subarray(this.#at)
  }

  /** Left out when 0, as proto3 has it, unless `always`: of a `oneof` it is the presence that tells. */
  integer(field: number, value: number | bigint, always = false): void {
    if (!always && (value === 0 || value === 0n)) return
    this.#varint(value)
    this.#varint(field << 3)
  }

  /** Left out when empty; an absent and an empty field are the same in proto3. */
  bytes(field: number, ...parts: readonly Uint8Array[]): void {
    let length = 0
    for (let i = parts.length - 1; i >= 0; i--) {
      const part = parts[i]!
      length += part.byteLength
      this.#reserve(part.byteLength)
      this.#at -= part.byteLength
      this.#buffer.set(part, this.#at)
    }
    if (length > 0) this.#tag(field, length)
  }

  /** `body` writes the nested message. Present even when empty. */
  message(field: number, body: () => void): void {
    const before = this.length
    body()
    this.#tag(field, this.length - before)
  }

  #tag(field: number, length: number): void {
    this.#varint(length)
    this.#varint((field << 3) | 2)
  }

  #varint(value: number | bigint): void {
    this.#reserve(10)
    if (typeof value === 'bigint' || value > 0x7fffffff) {
      const bytes: number[] = []
      let rest = BigInt.asUintN(64, BigInt(value))
      for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
      bytes.push(Number(rest))
      this.#at -= bytes.length
      this.#buffer.set(bytes, this.#at)
      return
    }
    const length = value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : value < 0x10000000 ? 4 : 5
    this.#at -= length
    let rest = value
    for (let i = 0; i < length - 1; i++) {
      this.#buffer[this.#at + i] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.#buffer[this.#at + length - 1] = rest
  }

  #reserve(size: number): void {
    if (this.#at >= size) return
    const used = this.length
    const grown = Buffer.allocUnsafe(Math.max((used + size) * 2, 256))
    this.#buffer.copy(grown, grown.byteLength - used, this.#at)
    this.#buffer = grown
    this.#at = grown.byteLength - used
  }
}
