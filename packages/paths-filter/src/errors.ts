export type PathsFilterErrorCode = 'PATHS_FILTER_INVALID_MODE' | 'PATHS_FILTER_INVALID_PATHS'

/** The filter was refused. The message names the field at fault. */
export class PathsFilterError extends Error {
  override readonly name = 'PathsFilterError'
  readonly code: PathsFilterErrorCode
  /** `mode`, `paths` or `paths[3]`. */
  readonly field: string
  constructor(code: PathsFilterErrorCode, field: string, problem: string) {
    super(`${field}: ${problem}`)
    this.code = code
    this.field = field
  }
}
