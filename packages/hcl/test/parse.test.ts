import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { HclError, parseHcl } from '../src/index.ts'

const built = resolve(import.meta.dirname, '../dist/index.js')

async function refusal(text: string, options = {}): Promise<HclError> {
  try {
    await parseHcl(text, options)
  } catch (error) {
    expect(error).toBeInstanceOf(HclError)
    return error as HclError
  }
  throw new Error(`accepted ${text.slice(0, 80)}`)
}

describe('what it understands', () => {
  const read = { capabilities: ['read'] }
  test.each<[string, unknown]>([
    ['', {}],
    ['# only\n// comments /* here */', {}],
    ['path "a/+/b" { capabilities = ["read"] }', { path: [{ 'a/+/b': [read] }] }],
    [
      'path "a" { capabilities = ["read"] min_wrapping_ttl = "1s" }',
      { path: [{ a: [{ ...read, min_wrapping_ttl: '1s' }] }] },
    ],
    ['path "a" { allowed_parameters = { "*" = [] } }', { path: [{ a: [{ allowed_parameters: [{ '*': [] }] }] }] }],
    ['path "a" {}\npath "a" {}', { path: [{ a: [{}] }, { a: [{}] }] }],
    ['{"path":{"a":{"capabilities":["read"]}}}', { path: [{ a: [read] }] }],
    ['{"path":{"a":{"c":1}},"path":{"b":{"c":2}}}', { path: [{ a: [{ c: 1 }] }, { b: [{ c: 2 }] }] }],
    [
      'listener "tcp" { tls_disable = true }\nlistener "tcp" {}',
      { listener: [{ tcp: [{ tls_disable: true }] }, { tcp: [{}] }] },
    ],
    ['a = <<E\nx = 1\nx = 2\nE\nb = 1', { a: 'x = 1\nx = 2\n', b: 1 }],
    ['a = 1.5, b = -3, c = 0x10, d = "1", e = false', { a: 1.5, b: -3, c: 16, d: '1', e: false }],
    ['a = "\\u00e9\\n\\"q\\""', { a: 'é\n"q"' }],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: HCL's own interpolation
    ['a = "{{identity.entity.id}} ${x("y")}" b = 1', { a: '{{identity.entity.id}} ${x("y")}', b: 1 }],
    ['__proto__ = 1', JSON.parse('{"__proto__":1}')],
  ])('%s', async (text, expected) => {
    expect(await parseHcl(text)).toEqual(expected)
  })

  test('integers beyond 31 bits, in HCL and JSON, but not inside strings', async () => {
    expect(await parseHcl('a = 10737418240 b = [-4294967296, 2147483647] c = "10737418240" # 99999999999')).toEqual({
      a: 10737418240,
      b: [-4294967296, 2147483647],
      c: '10737418240',
    })
    expect(await parseHcl('{"a": 10737418240, "b": "x: 10737418240"}')).toEqual({ a: 10737418240, b: 'x: 10737418240' })
  })
})

describe('what it refuses', () => {
  test.each([' "hunter2"', 'hunter2', 'a = hunter2', 'a = 1\n"hunter2" "x"\n', 'seal "hunter2" "it\'s"'])(
    'a value that lost its place is not repeated: %j',
    async (text) => {
      const { message } = await parseHcl(text).then(
        () => ({ message: 'accepted' }),
        (error: Error) => error,
      )
      expect(message).toMatch(/^At \d+:\d+: (?:.*expected|Unknown token)/)
      expect(message).not.toContain('hunter2')
    },
  )

  test.each<[string, number | undefined, number | undefined]>([
    ['x {', 1, 5],
    ['a = 1\nb = = 2', 2, 5],
    ["a = 'x'", 1, 5],
    ['{"a": x}', 1, 7],
  ])('%j with its position', async (text, line, column) => {
    const error = await refusal(text)
    expect([error.code, error.line, error.column]).toEqual(['HCL_SYNTAX', line, column])
  })

  test('a list, a bare value, a null character, a byte order mark', async () => {
    for (const text of ['[1]', '"x"', 'null', 'a\0 = 1', '\ufeffa = 1'])
      expect((await refusal(text)).code).toBe('HCL_SYNTAX')
  })

  test.each<[string, number, number]>([
    ['a = 1\na = 2', 2, 1],
    ['path "x" {\n  capabilities = ["deny"]\n  capabilities = ["sudo"]\n}', 3, 3],
    ['a = { b = 1, "b" = 2 }', 1, 14],
    ['l = [{ a = 1 a = 2 }]', 1, 14],
    ['a = true\na = false', 2, 1],
    ['a = "x" a = "y"', 1, 9],
    ['a = [1, "x"] a = {}', 1, 14],
    ['a = <<E\nx\nE\na = <<E\ny\nE\n', 4, 1],
    ['b "l" { a = {} a = [] }', 1, 16],
  ])('the attribute set twice in %j', async (text, line, column) => {
    const error = await refusal(text)
    expect([error.code, error.line, error.column]).toEqual(['HCL_DUPLICATE_ATTRIBUTE', line, column])
  })

  test('the same attribute in different bodies is no duplicate', async () => {
    await parseHcl('a { x = 1 }\na { x = 2 }\nb = [{ x = 1 }, { x = 2 }]\nc { d { x = 1 } x = 3 }\nx = 5')
    await parseHcl('a = "x" x = "a" b = true c = 1 l = ["a", "a", true, true] m { "x" = "x" }\nm { "x" = "x" }')
  })

  test('too much text, in bytes', async () => {
    expect((await refusal('a = "ééé"', { maxBytes: 10 })).code).toBe('HCL_TOO_LARGE')
    expect((await refusal(`# ${'x'.repeat(1024 * 1024)}`)).code).toBe('HCL_TOO_LARGE')
  })

  test('deep nesting, quickly', async () => {
    for (const open of ['[', 'a {', '{"a":']) {
      expect((await refusal(`${open === '[' ? 'a = ' : ''}${open.repeat(50_000)}`)).code).toBe('HCL_TOO_DEEP')
    }
  })
})

describe('isolation', () => {
  test('a text that takes too long is stopped, and those behind it are still answered', async () => {
    await parseHcl('warm = true')
    const slow = refusal('path "secret/data/foo" { capabilities = ["read"] }\n'.repeat(20_000), { timeoutMs: 150 })
    const behind = [1, 2, 3].map((n) => parseHcl(`a = ${n}`, { timeoutMs: 20_000 }))
    expect((await slow).code).toBe('HCL_TIMEOUT')
    expect(await Promise.all(behind)).toEqual([{ a: 1 }, { a: 2 }, { a: 3 }])
  })

  test('a waiting text times out by itself', async () => {
    const slow = parseHcl('path "secret/data/foo" { capabilities = ["read"] }\n'.repeat(2_000), { timeoutMs: 20_000 })
    expect((await refusal('a = 1', { timeoutMs: 1 })).code).toBe('HCL_TIMEOUT')
    expect(Object.keys(await slow)).toEqual(['path'])
  })

  test('a parser that overflows its stack fails that text only', async () => {
    // The unknown character makes the scan leave the verdict to the parser.
    expect((await refusal(`; a = ${'['.repeat(200_000)}`)).code).toMatch(/HCL_(SYNTAX|PARSER_FAILED)/)
    expect((await refusal(`a = ${'['.repeat(99)}; ${'['.repeat(200_000)}`)).code).toMatch(/HCL_(SYNTAX|PARSER_FAILED)/)
    expect(await parseHcl('a = 1')).toEqual({ a: 1 })
  })

  test('many at once keep their own answers', async () => {
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, n) => parseHcl(n % 3 ? `a = ${n}` : `a = = ${n}`).catch((e: HclError) => e.code)),
    )
    expect(answers).toEqual(Array.from({ length: 100 }, (_, n) => (n % 3 ? { a: n } : 'HCL_SYNTAX')))
  })

  // Plain node cannot read TypeScript, so this one needs the built package.
  test.skipIf(!existsSync(built))('an idle parser does not keep the process alive', () => {
    const program = `import { parseHcl } from ${JSON.stringify(built)}; console.log(JSON.stringify(await parseHcl('a = 1')))`
    const run = spawnSync(process.execPath, ['--input-type=module', '-e', program], { timeout: 20_000 })
    expect([run.status, run.stdout.toString().trim()]).toEqual([0, '{"a":1}'])
  })
})

test('JSON that the HCL parser takes though it ends early is refused with its place', async () => {
  for (const [text, line, column] of [
    ['{"storage": {"level": {"path": "x"}', 1, 36],
    ['{\n  "storage": {"level": {"path": "x"}}\n', 3, 1],
    ['{"a": 1} {"b": 2}', 1, 10],
  ] as const) {
    const error = await refusal(text)
    expect(error, text).toMatchObject({ code: 'HCL_SYNTAX', line, column })
    expect(error.message).toBe(`At ${line}:${column}: invalid JSON`)
  }
  const quoted = await refusal('{"a": 1, "b": secret}')
  expect(quoted.code).toBe('HCL_SYNTAX')
})
