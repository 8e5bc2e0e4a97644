import { LosslessNumber, parse } from 'lossless-json'
import { describe, expect, it } from 'vitest'
import { type Field, fieldReader } from './field.ts'
import { BackendError, field, hasLosslessNumber, parseDuration, stringifyJson } from './index.ts'

const read = (definition: Field<unknown>, value: unknown) => fieldReader({ x: definition })({ x: value }).x
const reason = (definition: Field<unknown>, value: unknown) => {
  try {
    read(definition, value)
  } catch (error) {
    expect(error).toBeInstanceOf(BackendError)
    return (error as Error).message.replace('Field validation failed: error converting input for field "x": ', '')
  }
  return undefined
}

describe('fields', () => {
  it.each([
    [field.string(), 'a', 'a'],
    [field.string(), 12, '12'],
    [field.string(), new LosslessNumber('1.00'), '1.00'],
    [field.string(), true, '1'],
    [field.string(), null, ''],
    [field.int(), '12', 12],
    [field.int(), new LosslessNumber('12'), 12],
    [field.int(), '', 0],
    [field.bool(), 'true', true],
    [field.bool(), 'F', false],
    [field.bool(), 1, true],
    [field.bool(), new LosslessNumber('0'), false],
    [field.duration(), '1h30m', 5400],
    [field.duration(), '1d', 86_400],
    [field.duration(), '90', 90],
    [field.duration(), 90, 90],
    [field.duration(), '1500ms', 1],
    [field.duration(), null, undefined],
    [field.signedDuration(), '-5s', -5],
    [field.commaStringList(), 'a, b', ['a', 'b']],
    [field.commaStringList(), ['a', 3], ['a', '3']],
    [field.commaStringList(), '["a","b,c"]', ['a', 'b,c']],
    [field.commaStringList(), '', []],
    [field.commaStringList(), 3, ['3']],
    [field.stringMap(), { a: 1, b: 'x' }, { a: '1', b: 'x' }],
    [field.stringMap(), ['a=1=2', 'b='], { a: '1=2', b: '' }],
    [field.stringMap(), 'a=1', { a: '1' }],
    [field.map(), { a: 1 }, { a: 1 }],
    [field.list(), [1, 'a'], [1, 'a']],
    [field.list(), 'a', ['a']],
  ])('case %#', (definition, input, output) => {
    expect(read(definition as Field<unknown>, input)).toEqual(output)
  })

  it.each([
    [field.string(), { a: 1 }, "'' expected type 'string', got unconvertible type 'map[string]interface {}'"],
    [field.int(), 'abc', "'' cannot parse value as 'int': strconv.ParseInt: invalid syntax"],
    [field.int(), 1.5, "'' cannot parse value as 'int': strconv.ParseInt: invalid syntax"],
    [field.int(), '99999999999999999999', "'' cannot parse value as 'int': strconv.ParseInt: value out of range"],
    [field.bool(), 'abc', "'' cannot parse value as 'bool': strconv.ParseBool: invalid syntax"],
    [field.duration(), 'abc', 'time: invalid duration "abc"'],
    [field.duration(), 1.5, 'time: missing unit in duration "1.5"'],
    [field.duration(), '1ds', 'time: unknown unit "ds" in duration "1ds"'],
    [field.duration(), -5, "cannot provide negative value '-5'"],
    [field.duration(), true, 'could not parse duration from input'],
    [field.map(), 'abc', "'' expected type 'map[string]interface {}', got unconvertible type 'string'"],
    [field.stringMap(), ['a'], 'invalid key pair'],
  ])('refusal %#', (definition, input, message) => {
    expect(reason(definition as Field<unknown>, input)).toBe(message)
  })

  it('does not read inherited properties', () => {
    expect(fieldReader({ constructor: field.string() })({})).toEqual({ constructor: undefined })
  })
})

describe('parseDuration', () => {
  it('refuses what Go refuses', () => {
    for (const text of ['h', '-', '1x', '1.', '1h1', '--1s', '1e3s', '99999999999999999999h']) {
      expect(() => parseDuration(text), text).toThrow(RangeError)
    }
  })
})

describe('stringifyJson', () => {
  it('writes lossless numbers digit by digit', () => {
    const text = '{"a":1.00,"b":[12345678901234567890,"x",null,true],"c":{"d":1e400},"__proto__":{"e":1.0}}'
    expect(stringifyJson(parse(text))).toBe(text)
    expect(hasLosslessNumber(JSON.parse('{"a":[1]}'))).toBe(false)
  })
})
