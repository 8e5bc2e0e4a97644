import { HclError } from './errors.ts'
import { parseInWorker } from './parser-worker.ts'
import { scan } from './scan.ts'

export interface ParseOptions {
  /** Milliseconds of processor time, waiting for earlier texts included; by the clock at most 12 times as long. Default 5000. */
  timeoutMs?: number
  /** Size limit of the text in UTF-8 bytes. Default 1 MiB. */
  maxBytes?: number
}

/**
 * Parses HCL 1, or JSON with the meaning HCL 1 gives it, into plain JSON values.
 *
 * Blocks and objects become arrays, because they may be repeated: `a "x" { b = 1 }` gives
 * `{ a: [{ x: [{ b: 1 }] }] }`. Keys come from the text, `__proto__` included: read them with `Object.hasOwn` or
 * `Object.entries`. Rejects with `HclError`.
 */
export async function parseHcl(text: string, options: ParseOptions = {}): Promise<Record<string, unknown>> {
  const maxBytes = options.maxBytes ?? 1024 * 1024
  // A UTF-16 unit has at least one byte in UTF-8, so the cheap test goes first.
  if (text.length > maxBytes || Buffer.byteLength(text) > maxBytes) {
    throw new HclError('HCL_TOO_LARGE', `larger than ${maxBytes} bytes`)
  }
  const json = await parseInWorker(scan(text), options.timeoutMs ?? 5_000)
  if (/^\s*\{/.test(text)) checkJson(text)
  return JSON.parse(json) as Record<string, unknown>
}

/** The HCL parser takes JSON that ends early, and then half of a configuration would count. HCL never starts with a brace. */
function checkJson(text: string): void {
  try {
    JSON.parse(text)
  } catch (error) {
    // The parser's own message quotes the text, and not always gives a position.
    const { message } = error as Error
    const offset = /end of JSON/.test(message) ? text.trimEnd().length : Number(/position (\d+)/.exec(message)?.[1])
    if (Number.isNaN(offset)) throw new HclError('HCL_SYNTAX', 'invalid JSON')
    const before = text.slice(0, offset).split('\n')
    const [line, column] = [before.length, before.at(-1)!.length + 1]
    throw new HclError('HCL_SYNTAX', `At ${line}:${column}: invalid JSON`, { line, column })
  }
}
