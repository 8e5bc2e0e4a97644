/** A refusal decided by the HTTP layer itself. `message` "" gives `{"errors":[]}`. */
export class HttpError extends Error {
  override readonly name = 'HttpError'
  readonly status: number
  /** Send `Connection: close`: the rest of the request will not be read. */
  readonly close: boolean
  constructor(status: number, message: string, options: { close?: boolean } = {}) {
    super(message)
    this.status = status
    this.close = options.close ?? false
  }
}
