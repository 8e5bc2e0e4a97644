/** A JSON number whose text must survive, as `lossless-json` parses it. Known by shape, so that no parser is needed here. */
export interface LosslessNumberLike {
  readonly isLosslessNumber: true
  readonly value: string
  toString(): string
}

export function isLosslessNumber(value: unknown): value is LosslessNumberLike {
  return (
    typeof value === 'object' && value !== null && (value as { isLosslessNumber?: unknown }).isLosslessNumber === true
  )
}
