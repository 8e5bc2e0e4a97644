/** A JSON number whose text must survive, as `lossless-json` parses it. Known by shape, so that no parser is needed here. */
export interface LosslessNumberLike {
  readonly isLosslessNumber: true
  readonly value: string
  toString(): string
}

const JSON_NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/

/**
 * Whether a parser made it. A client may send an object of the same shape: that one has the prototype of plain objects, and must
 * neither be written as raw text nor be taken for a number by audit or policy.
 */
export function isLosslessNumber(value: unknown): value is LosslessNumberLike {
  if (typeof value !== 'object' || value === null) return false
  if ((value as { isLosslessNumber?: unknown }).isLosslessNumber !== true) return false
  const prototype = Object.getPrototypeOf(value)
  if (prototype === Object.prototype || prototype === null) return false
  const text = (value as { value?: unknown }).value
  return typeof text === 'string' && JSON_NUMBER.test(text)
}
