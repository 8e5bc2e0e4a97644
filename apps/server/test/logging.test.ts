import { describe, expect, test } from 'vitest'
import type { LogFormat } from '../src/config/server-config.ts'
import { redactFields } from '../src/logging/redaction.ts'
import { serverLog } from '../src/logging/server-log.ts'

function logTo(format: LogFormat) {
  const lines: string[] = []
  return { lines, log: serverLog({ level: 'info', format, stream: { write: (line) => lines.push(line) } }) }
}

describe('log', () => {
  test('JSON with the names Vault uses', () => {
    const { lines, log } = logTo('json')
    log.named('core').info('post-unseal setup', { mounts: 3 })
    log.debug('hidden')
    expect(lines.length).toBe(1)
    const { '@timestamp': time, ...rest } = JSON.parse(lines[0]!)
    expect(rest).toEqual({ '@level': 'info', '@module': 'core', '@message': 'post-unseal setup', mounts: 3 })
    expect(time).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
    log.level = 'debug'
    log.debug('shown')
    expect(lines.length).toBe(2)
  })

  test('standard text, one line a record', () => {
    const { lines, log } = logTo('standard')
    log.named('core').warn('careful', { path: 'secret/', count: 2, text: 'two words', list: ['a'] })
    expect(lines[0]).toMatch(/^\S+Z \[WARN\] {2}core: careful: path=secret\/ count=2 text="two words" list=\["a"\]\n$/)
    log.error('a\n2026-01-01T00:00:00.000Z [INFO]  core: forged', { b: 'c\nd' })
    expect(lines[1]!.trimEnd().split('\n').length).toBe(1)
  })

  test('no secret gets through, by name or by shape', () => {
    const token = `hvs.${'A1b2'.repeat(10)}`
    const { lines, log } = logTo('json')
    log.info(`used ${token}`, {
      client_token: 'x1',
      password: 'x2',
      nested: { secret_id: 'x3', unseal_key: 'x4', list: [{ otp: 'x5' }] },
      key: 'x6',
      bytes: Buffer.from('x7'),
      header: `eyJhbGciOiJFUzUxMiJ9.eyJhZGRyIjoieCJ9.c2ln`,
      error: new Error(`failed with ${token}`),
      token_type: 'service',
      accessor: 'kept',
      secret_shares: 5,
    })
    for (const secret of [token, 'x1', 'x2', 'x3', 'x4', 'x5', 'x6', 'x7', 'eyJhbGci'])
      expect(lines[0]).not.toContain(secret)
    expect(JSON.parse(lines[0]!)).toMatchObject({ token_type: 'service', accessor: 'kept', secret_shares: 5 })
  })

  test('cycles and big integers do not break it', () => {
    const loop: Record<string, unknown> = { n: 5n }
    loop.self = loop
    expect(JSON.stringify(redactFields(loop))).toContain('[nested]')
  })
})
