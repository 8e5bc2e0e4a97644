/** Request bodies: read within limits, and parsed as JSON whatever the content type says (curl and many clients lie). */
import type { IncomingMessage } from 'node:http'
import { HttpError } from './http-error.ts'
import { parseJson } from './json-number.ts'

export const DEFAULT_MAX_REQUEST_SIZE = 32 * 1024 * 1024
/** Recursive walkers (policies, audit, stringify) must never meet a value that exhausts the stack. */
const MAX_DEPTH = 300
/** Members and elements. A 32 MiB body of `[[],[],...` would otherwise take gigabytes once parsed. */
const MAX_VALUES = 500_000

const LINGER_MS = 1000

const EMPTY = Buffer.alloc(0)

/** The whole body; empty when there is none. Rejects with 413 past `limit` bytes. */
export function readBody(request: IncomingMessage, limit: number): Promise<Buffer> | Buffer {
  const length = request.headers['content-length']
  if (length === undefined ? request.headers['transfer-encoding'] === undefined : length === '0') return EMPTY
  if (Number(length) > limit) return refuseLate(request)
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= limit) {
        chunks.push(chunk)
        return
      }
      request.removeAllListeners('data')
      chunks.length = 0
      refuseLate(request).catch(reject)
    })
    request.on('end', () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, size)))
    // The client went away; nobody reads the reply, but the promise must settle.
    const ended = () => reject(new HttpError(400, 'request body ended early'))
    request.on('error', ended)
    request.on('close', () => request.complete || ended())
  })
}

/**
 * Rejects with 413 once the client has sent it all, or after `LINGER_MS`: the connection ends with the answer, and a client still
 * sending then would get a reset instead of it.
 */
async function refuseLate(request: IncomingMessage): Promise<never> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, LINGER_MS)
    for (const event of ['end', 'close', 'error']) {
      request.once(event, () => {
        clearTimeout(timer)
        resolve()
      })
    }
    request.resume()
  })
  request.pause()
  throw tooLarge()
}

/** The members of a JSON object or of a declared form; `{}` for an empty body. Throws 400. */
export function parseBody(body: Buffer, contentType: string | undefined): Record<string, unknown> {
  if (body.length === 0) return {}
  let start = 0
  while (start < body.length && isSpace(body[start]!)) start++
  if (start === body.length) return {}
  const first = body[start]
  if (first !== OPEN_BRACE && first !== OPEN_BRACKET && contentType?.startsWith('application/x-www-form-urlencoded')) {
    return queryValues(body.toString('utf8'))
  }
  // A body too short to break a limit is not scanned.
  if (body.length > MAX_DEPTH) checkComplexity(body)
  let value: unknown
  try {
    value = parseJson(body.toString('utf8'))
  } catch (error) {
    // The parser's own message quotes the body.
    const position = /position (\d+)/.exec((error as Error).message)?.[1]
    throw new HttpError(400, `failed to parse JSON input: invalid JSON${position ? ` at position ${position}` : ''}`)
  }
  // What Vault's Go client sends for "no data" (`vault write -f`).
  if (value === null) return {}
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new HttpError(400, 'failed to parse JSON input: the top level must be an object')
  }
  return value as Record<string, unknown>
}

/** Query or form text as data: one value is a string, several are an array. */
export function queryValues(text: string): Record<string, unknown> {
  const data: Record<string, unknown> = {}
  if (text === '') return data
  for (const [name, value] of new URLSearchParams(text)) {
    if (name === 'help') continue
    const known = Object.hasOwn(data, name) ? data[name] : undefined
    const next = known === undefined ? value : Array.isArray(known) ? [...known, value] : [known, value]
    Object.defineProperty(data, name, { value: next, writable: true, enumerable: true, configurable: true })
  }
  return data
}

const OPEN_BRACE = 0x7b
const OPEN_BRACKET = 0x5b
const isSpace = (byte: number) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)

function checkComplexity(body: Buffer): void {
  let depth = 0
  let values = 0
  let inString = false
  for (let index = 0; index < body.length; index++) {
    const byte = body[index]
    if (inString) {
      if (byte === 0x5c) index++
      else if (byte === 0x22) inString = false
    } else if (byte === 0x22) inString = true
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      values++
      if (++depth > MAX_DEPTH) throw tooComplex(`nested more than ${MAX_DEPTH} levels deep`)
    } else if (byte === 0x7d || byte === 0x5d) depth--
    else if (byte === 0x2c) values++
  }
  if (values > MAX_VALUES) throw tooComplex(`more than ${MAX_VALUES} values`)
}

function tooComplex(why: string) {
  return new HttpError(400, `refused JSON input due to high complexity: ${why}`)
}

function tooLarge() {
  return new HttpError(413, 'http: request body too large', { close: true })
}
