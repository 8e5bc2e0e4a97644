import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { HttpError } from '../src/http/http-error.ts'
import { parseBody } from '../src/http/json-body.ts'
import { parseJson, stringifyJson } from '../src/http/json-number.ts'
import { listening, rawExchange } from './client.ts'
import { fakeCore } from './fake-core.ts'

const core = fakeCore()
let server: Awaited<ReturnType<typeof listening>>
beforeAll(async () => {
  server = await listening(core, { maxRequestSize: 100_000 })
})
afterAll(() => server.app.close(0))
beforeEach(() => {
  core.requests.length = 0
})
const post = (body: string | Buffer | undefined, type?: string, method = 'POST') =>
  server.send('/v1/a', { method, body, headers: type === undefined ? {} : { 'Content-Type': type } })

describe('bodies', () => {
  test.each([undefined, 'application/json', 'application/x-www-form-urlencoded', 'text/plain', 'nonsense;;;', '/'])(
    'JSON is JSON, declared as %j or not',
    async (type) => {
      expect((await post(' \n{"a":"b"}', type)).status).toBe(200)
      expect(core.requests[0]!.data).toEqual({ a: 'b' })
    },
  )

  test.each(['', ' \n', 'null'])('an empty body %j is no data', async (body) => {
    expect((await post(body)).status).toBe(200)
    expect(core.requests[0]!.data).toEqual({})
  })

  test('a declared form is a form', async () => {
    expect((await post('a=1&b=x+y&b=z', 'application/x-www-form-urlencoded')).status).toBe(200)
    expect(core.requests[0]!.data).toEqual({ a: '1', b: ['x y', 'z'] })
    expect((await post('a=1&b=2')).status).toBe(400)
  })

  test.each(['{"a"', '[1]', '"x"', '5', '{"a":1} x', '{a:1}', '\ufeff{}'])('refuses %s', async (body) => {
    const reply = await post(body)
    expect(reply.status).toBe(400)
    expect((reply.json as { errors: string[] }).errors[0]).toMatch(/^failed to parse JSON input: /)
    expect(core.requests).toEqual([])
  })

  test('the error does not repeat the body', async () => {
    expect((await post('{"password": "hunter2" oops}')).text).not.toContain('hunter2')
  })

  test('chunked bodies', async () => {
    const text = await rawExchange(server.port, [
      'POST /v1/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n',
      '2\r\n1}\r\n0\r\n\r\n',
    ])
    expect(text).toMatch(/^HTTP\/1.1 200/)
    expect(core.requests[0]!.data).toEqual({ a: 1 })
  })

  test('413 past the limit, declared or not, and the connection ends', async () => {
    const big = `{"a":"${'x'.repeat(100_000)}"}`
    expect(await post(big)).toMatchObject({ status: 413, json: { errors: ['http: request body too large'] } })
    const chunked = await rawExchange(server.port, [
      'POST /v1/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n',
      `${(big.length).toString(16)}\r\n${big}\r\n`,
    ])
    expect(chunked).toMatch(/^HTTP\/1.1 413[\s\S]*Connection: close/i)
    expect(core.requests).toEqual([])
    expect((await post('{}')).status).toBe(200)
  })

  test('413 reaches a client that sends far more than the limit before it reads', async () => {
    for (let round = 0; round < 5; round++) {
      const reply = await post(Buffer.alloc(8 * 1024 * 1024, 'x').toString())
      expect(reply.status).toBe(413)
    }
  })

  test('depth and number of values are limited', async () => {
    const nested = (depth: number) => `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`
    expect((await post(nested(250))).status).toBe(200)
    for (const body of [nested(400), `{"a":${'['.repeat(90_000)}`, `{"a":${'{"a":'.repeat(15_000)}`]) {
      const reply = await post(body)
      expect([reply.status, reply.text]).toEqual([
        400,
        expect.stringContaining('refused JSON input due to high complexity'),
      ])
    }
    expect((await post(`{"a":"${'['.repeat(1000)}\\"${'{'.repeat(1000)}"}`)).status).toBe(200)
    expect(() => parseBody(Buffer.from(`{"a":[${'[],'.repeat(300_000)}1]}`), undefined)).toThrow('high complexity')
  })

  test('a client that goes away in the middle of a body', async () => {
    await rawExchange(server.port, ['POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"a"'], 0)
    expect(core.requests).toEqual([])
    expect(server.log.lines.filter(({ level }) => level === 'error')).toEqual([])
  })

  test('any bytes give an object or a 400', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 500 }),
          fc.json().map((text) => Buffer.from(text)),
        ),
        fc.constantFrom(undefined, 'application/x-www-form-urlencoded'),
        (bytes, type) => {
          try {
            expect(typeof parseBody(Buffer.from(bytes), type)).toBe('object')
          } catch (error) {
            expect(error).toBeInstanceOf(HttpError)
            expect((error as HttpError).status).toBe(400)
          }
        },
      ),
    )
  })
})

describe('JSON numbers', () => {
  test('every JSON value is read as JSON.parse reads it, and written back as it was', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify(value)
        expect(JSON.stringify(JSON.parse(stringifyJson(parseJson(text))))).toBe(JSON.stringify(JSON.parse(text)))
        expect(stringifyJson(parseJson(text))).toBe(text)
      }),
    )
  })

  test('number text is kept', () => {
    const digits = fc.stringMatching(/^-?(0|[1-9]\d{0,30})(\.\d{1,20})?([eE][+-]?\d{1,3})?$/)
    fc.assert(
      fc.property(digits, (number) => {
        for (const text of [
          `{"a":${number}}`,
          `[${number},${number}]`,
          `{"a": ${number} }`,
          `{"a":{"b":[1,${number}]}}`,
        ]) {
          expect(stringifyJson(parseJson(text))).toBe(text.replaceAll(' ', ''))
        }
      }),
    )
  })

  test('an object that looks like a number object is written as the object it is', () => {
    const text = '{"a":{"isLosslessNumber":true,"value":"1"},"b":1.0}'
    expect(stringifyJson(parseJson(text))).toBe(text)
  })

  test('a repeated key takes its last value, as with JSON.parse', () => {
    expect(stringifyJson(parseJson('{"a":1.0,"a":2.0}'))).toBe('{"a":2.0}')
  })
})
