import fc from 'fast-check'
import { expect, test } from 'vitest'
import { HclError, parseHcl } from '../src/index.ts'

const runs = process.env.SLOW ? 20_000 : 400

const tokens = fc.array(
  fc.constantFrom(
    'path',
    '"x"',
    '"',
    '{',
    '}',
    '[',
    ']',
    '=',
    ',',
    ':',
    '\n',
    ' ',
    '1',
    '-1',
    '99999999999',
    '1e9',
    '0x',
    'true',
    'null',
    '#',
    '//',
    '/*',
    '*/',
    '<<E\n',
    'E\n',
    '\\',
    '${',
    'é',
    '\0',
    '\u{1F600}',
    'a.b-c',
    '.5',
    '+',
    '__proto__',
  ),
  { maxLength: 40 },
)
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 200 }),
  tokens.map((list) => list.join('')),
  tokens.map((list) => list.join(' ')),
  fc.json(),
)

test('every text is parsed or refused with an HclError, and the parser lives on', async () => {
  await fc.assert(
    fc.asyncProperty(text, async (input) => {
      try {
        const value = await parseHcl(input)
        expect(typeof value === 'object' && value !== null && !Array.isArray(value)).toBe(true)
      } catch (error) {
        expect(error).toBeInstanceOf(HclError)
        expect((error as HclError).code).not.toBe('HCL_TIMEOUT')
      }
    }),
    { numRuns: runs },
  )
  expect(await parseHcl('a = 1')).toEqual({ a: 1 })
})

const name = fc.stringMatching(/^[a-z][a-z_]{0,8}$/)
const scalar = fc.oneof(
  fc.integer({ min: -1e12, max: 1e12 }),
  fc.boolean(),
  fc.stringMatching(/^[ -!#-[\]-~é]{0,12}$/).filter((s) => !s.includes('$')),
)
const body = fc.uniqueArray(fc.tuple(name, fc.oneof(scalar, fc.array(scalar, { maxLength: 3 }))), {
  selector: ([key]) => key,
  maxLength: 5,
})

test('what is written is what is read', async () => {
  await fc.assert(
    fc.asyncProperty(
      name,
      fc.string({ minLength: 1, unit: 'grapheme-ascii' }).filter((s) => !/["\\$]/.test(s)),
      body,
      async (block, label, attributes) => {
        const lines = attributes.map(([key, value]) => `  ${key} = ${JSON.stringify(value)}`).join('\n')
        expect(await parseHcl(`${block} "${label}" {\n${lines}\n}`)).toEqual({
          [block]: [{ [label]: [Object.fromEntries(attributes)] }],
        })
      },
    ),
    { numRuns: runs / 4 },
  )
})

test('an attribute set twice is found, whatever stands between', async () => {
  await fc.assert(
    fc.asyncProperty(
      body.filter((attributes) => attributes.length > 0),
      fc.nat(),
      fc.constantFrom(' ', '\n', ' # c\n'),
      async (attributes, pick, separator) => {
        const lines = [...attributes, attributes[pick % attributes.length]!]
        const text = lines.map(([key, value]) => `${key} = ${JSON.stringify(value)}`).join(separator)
        await expect(parseHcl(`x "y" { ${text} }`)).rejects.toMatchObject({ code: 'HCL_DUPLICATE_ATTRIBUTE' })
      },
    ),
    { numRuns: runs / 4 },
  )
})
