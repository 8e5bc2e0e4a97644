import fc from 'fast-check'
import { parse } from 'lossless-json'
import { describe, expect, it } from 'vitest'
import { decodeExactJson, encodeExactJson, stringifyJson } from './index.ts'

describe('exact JSON', () => {
  it.each([
    '{"a":1.00}',
    '{"a":-0}',
    '{"a":[12345678901234567890,{"b":1E5}]}',
    '{"a":1e400}',
    '{"a":1,"b":"1.00","c":null}',
    '{"__proto__":{"x":1.0},"constructor":2}',
  ])('keeps the text of %s', (text) => {
    expect(stringifyJson(decodeExactJson(encodeExactJson(parse(text) as Record<string, unknown>)))).toBe(text)
  })

  it('takes the plain parser when numbers allow', () => {
    expect(encodeExactJson(parse('{"a":[1,2.5,-3]}') as Record<string, unknown>)[0]).toBe(0)
    expect(encodeExactJson(parse('{"a":[1,2.50]}') as Record<string, unknown>)[0]).toBe(1)
  })

  it('returns any JSON object unchanged', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (data) => {
        const text = JSON.stringify(data)
        expect(JSON.stringify(decodeExactJson(encodeExactJson(JSON.parse(text))))).toBe(text)
        expect(stringifyJson(decodeExactJson(encodeExactJson(parse(text) as Record<string, unknown>)))).toBe(text)
      }),
    )
  })
})
