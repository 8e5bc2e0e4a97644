/**
 * One linear pass over the text before the parser sees it, for three things the parser does not do: it bounds nesting (the
 * parser recurses), finds attributes set twice in one body (the parser keeps the last one in silence), and rewrites integers
 * of more than 31 bits as `n.0` (the parser was compiled for a 32-bit machine and would call them out of range).
 *
 * It recognises tokens, not grammar. On text it does not understand it gives up its findings and leaves the verdict to the parser.
 */
import { HclError } from './errors.ts'

const MAX_DEPTH = 100
const INT32_DIGITS = 9

interface Body {
  /** Attribute names set so far; undefined inside lists. */
  attributes: Set<string> | undefined
}

const TOKEN =
  /[ \t\r\n,]+|#[^\n]*|\/\/[^\n]*|\/\*[\s\S]*?\*\/|<<-?([^\n]*)\n|[A-Za-z_\p{L}][\w\p{L}.-]*|-?\d[\w.+-]*|"|[:={}[\]]/uy

/** The text to parse. Throws `HCL_TOO_DEEP` and `HCL_DUPLICATE_ATTRIBUTE`. */
export function scan(text: string): string {
  const json = /^\s*\{/.test(text)
  const bodies: Body[] = [{ attributes: new Set() }]
  let output = ''
  let copied = 0
  let at = 0
  // The name before `=` is the attribute; anything between (a block's labels) makes it a block.
  let previous: { name: string; start: number } | undefined
  let previousIsFirst = true
  let isValue = false
  const word = (name: string, start: number) => {
    if (isValue) {
      isValue = false
      previous = undefined
    } else {
      previousIsFirst = previous === undefined
      previous = { name, start }
    }
  }
  while (at < text.length) {
    TOKEN.lastIndex = at
    const match = TOKEN.exec(text)
    if (match === null) return text
    const token = match[0]
    const start = at
    at += token.length
    const first = token[0]!
    if (first === '"') {
      const end = stringEnd(text, at)
      if (end === undefined) return text
      at = end
      word(text.slice(start + 1, end - 1), start)
    } else if (token.startsWith('<<')) {
      const end = heredocEnd(text, at, match[1]!.trim())
      if (end === undefined) return text
      at = end
      previous = undefined
      isValue = false
    } else if (first === '{' || first === '[') {
      if (bodies.length > MAX_DEPTH) {
        throw new HclError('HCL_TOO_DEEP', `nested more than ${MAX_DEPTH} levels deep`, position(text, start))
      }
      bodies.push({ attributes: first === '{' ? new Set() : undefined })
      previous = undefined
      isValue = false
    } else if (first === '}' || first === ']') {
      if (bodies.length > 1) bodies.pop()
      previous = undefined
    } else if (first === '=') {
      // In JSON a repeated key is HCL's way to repeat a block, and there is no `=`.
      if (previous !== undefined && previousIsFirst && !json) declare(text, bodies[bodies.length - 1]!, previous)
      previous = undefined
      isValue = true
    } else if (/[-\d]/.test(first)) {
      if (isWideInteger(token)) {
        output += `${text.slice(copied, at)}.0`
        copied = at
      }
      previous = undefined
      isValue = false
    } else if (/[\p{L}_]/u.test(first)) {
      word(token, start)
    } else if (first === ':' || token.includes(',')) {
      previous = undefined
    }
  }
  return copied === 0 ? text : output + text.slice(copied)
}

function declare(text: string, body: Body, { name, start }: { name: string; start: number }): void {
  if (body.attributes === undefined) return
  if (body.attributes.has(name)) {
    const shown = name.length > 64 ? `${name.slice(0, 64)}...` : name
    throw new HclError('HCL_DUPLICATE_ATTRIBUTE', `attribute '${shown}' is set more than once`, position(text, start))
  }
  body.attributes.add(name)
}

function isWideInteger(token: string): boolean {
  return /^-?[1-9]\d*$/.test(token) && token.length > INT32_DIGITS && Math.abs(Number(token)) > 0x7fffffff
}

/** `at` is behind the opening quote. `${...}` may hold quotes of its own. */
function stringEnd(text: string, at: number): number | undefined {
  let braces = 0
  for (let index = at; index < text.length; index++) {
    const character = text[index]
    if (character === '\\') index++
    else if (braces === 0 && character === '"') return index + 1
    else if (character === '\n' && braces === 0) return undefined
    else if (character === '$' && text[index + 1] === '{') {
      braces++
      index++
    } else if (braces > 0 && character === '{') braces++
    else if (braces > 0 && character === '}') braces--
  }
  return undefined
}

function heredocEnd(text: string, at: number, marker: string): number | undefined {
  if (marker === '') return undefined
  for (let start = at; start < text.length; ) {
    const newline = text.indexOf('\n', start)
    const end = newline === -1 ? text.length : newline
    if (text.slice(start, end).trim() === marker) return end
    start = end + 1
  }
  return undefined
}

function position(text: string, index: number): { line: number; column: number } {
  const before = text.slice(0, index)
  return { line: before.split('\n').length, column: index - before.lastIndexOf('\n') }
}
