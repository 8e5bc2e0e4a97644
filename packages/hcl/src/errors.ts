export type HclErrorCode =
  /** The text is not HCL; `line` and `column` say where, when the parser knows. */
  | 'HCL_SYNTAX'
  /** One block or object sets the same attribute twice. */
  | 'HCL_DUPLICATE_ATTRIBUTE'
  /** More bytes than `maxBytes`. */
  | 'HCL_TOO_LARGE'
  /** Deeper nesting than any policy or configuration has. */
  | 'HCL_TOO_DEEP'
  | 'HCL_TIMEOUT'
  /** The parser itself failed. The text may or may not be valid. */
  | 'HCL_PARSER_FAILED'

/** Every error this package rejects with. The message quotes at most the name or the single token at fault. */
export class HclError extends Error {
  override readonly name = 'HclError'
  readonly code: HclErrorCode
  /** From 1; undefined when unknown. */
  readonly line: number | undefined
  /** From 1, in characters; undefined when unknown. */
  readonly column: number | undefined
  constructor(code: HclErrorCode, message: string, position?: { line: number; column: number }) {
    super(message)
    this.code = code
    this.line = position?.line
    this.column = position?.column
  }
}
