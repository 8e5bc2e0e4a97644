import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { HealthState } from '../src/http/server-core.ts'
import { listening } from './client.ts'
import { fakeCore } from './fake-core.ts'

const core = fakeCore()
let server: Awaited<ReturnType<typeof listening>>
beforeAll(async () => {
  server = await listening(core)
})
afterAll(() => server.app.close(0))
beforeEach(() => {
  core.calls.length = 0
  core.requests.length = 0
  core.state = 'active'
})

describe('paths without token and envelope', () => {
  test('init', async () => {
    expect((await server.send('/v1/sys/init')).json).toEqual({ initialized: true })
    const body = '{"secret_shares":5,"secret_threshold":3}'
    for (const method of ['PUT', 'POST']) {
      const reply = await server.send('/v1/sys/init', { method, body })
      expect(reply.json).toMatchObject({ root_token: 'hvs.root' })
    }
    expect(core.calls[0]).toEqual(['initialize', { secret_shares: 5, secret_threshold: 3 }])
    const bad = await server.send('/v1/sys/init', { method: 'PUT', body: '{"secret_shares":0}' })
    expect(bad).toMatchObject({ status: 400, json: { errors: ['invalid seal configuration'] } })
    expect(await server.send('/v1/sys/init', { method: 'DELETE' })).toMatchObject({ status: 405, json: { errors: [] } })
  })

  test('seal-status, unseal, leader', async () => {
    expect((await server.send('/v1/sys/seal-status')).json).toEqual({
      type: 'shamir',
      initialized: true,
      sealed: false,
    })
    expect((await server.send('/v1/sys/seal-backend-status')).json).toEqual({
      ...{ healthy: true, fully_wrapped: true, backends: [] },
    })
    expect((await server.send('/v1/sys/unseal', { method: 'PUT', body: '{"key":"ab"}' })).json).toEqual({
      sealed: false,
      t: 1,
    })
    expect(core.calls).toEqual([['unseal', { key: 'ab' }]])
    expect((await server.send('/v1/sys/leader')).json).toEqual(core.leaderBody)
    for (const path of ['/v1/sys/unseal', '/v1/sys/seal-status', '/v1/sys/seal-backend-status', '/v1/sys/leader']) {
      const method = path.endsWith('unseal') ? 'GET' : 'PUT'
      expect(await server.send(path, { method })).toMatchObject({ status: 405, json: { errors: [] } })
    }
    expect(await server.send('/v1/sys/seal-status', { method: 'HEAD' })).toMatchObject({ status: 405, text: '' })
    expect(core.requests).toEqual([])
  })

  test.each([
    ['root', '/v1/sys/generate-root'],
    ['dr-operation', '/v1/sys/replication/dr/secondary/generate-operation-token'],
  ])('generate %s token', async (kind, base) => {
    expect((await server.send(`${base}/attempt`)).json).toEqual({ started: false, complete: false })
    expect((await server.send(`${base}/attempt`, { method: 'PUT', body: '{"otp":"x"}' })).json).toMatchObject({
      started: true,
    })
    expect((await server.send(`${base}/update`, { method: 'POST', body: '{"key":"k","nonce":"n"}' })).status).toBe(200)
    expect(await server.send(`${base}/attempt`, { method: 'DELETE' })).toMatchObject({ status: 204, text: '' })
    expect(core.calls).toEqual([
      [kind, 'status', {}],
      [kind, 'start', { otp: 'x' }],
      [kind, 'update', { key: 'k', nonce: 'n' }],
      [kind, 'cancel', {}],
    ])
    expect((await server.send(`${base}/update`)).status).toBe(405)
  })

  test.each([
    ['barrier', '/v1/sys/rekey'],
    ['recovery', '/v1/sys/rekey-recovery-key'],
  ])('rekey of the %s key', async (target, base) => {
    expect((await server.send(`${base}/init`)).json).toEqual({ started: false })
    const body = '{"secret_shares":3,"secret_threshold":2}'
    expect((await server.send(`${base}/init`, { method: 'PUT', body })).json).toEqual({ started: true })
    expect((await server.send(`${base}/update`, { method: 'POST', body: '{"key":"k","nonce":"n"}' })).status).toBe(200)
    expect((await server.send(`${base}/verify`)).status).toBe(200)
    expect((await server.send(`${base}/verify`, { method: 'PUT', body: '{"key":"k","nonce":"v"}' })).status).toBe(200)
    expect((await server.send(`${base}/verify`, { method: 'DELETE' })).status).toBe(200)
    expect(await server.send(`${base}/init`, { method: 'DELETE' })).toMatchObject({ status: 204, text: '' })
    expect(core.calls).toEqual([
      [target, 'status', {}],
      [target, 'start', { secret_shares: 3, secret_threshold: 2 }],
      [target, 'update', { key: 'k', nonce: 'n' }],
      [target, 'verify-status', {}],
      [target, 'verify', { key: 'k', nonce: 'v' }],
      [target, 'verify-restart', {}],
      [target, 'cancel', {}],
    ])
    expect((await server.send(`${base}/update`)).status).toBe(405)
  })

  test('namespaces are refused, except where a client merely looks', async () => {
    const headers = { 'X-Vault-Namespace': 'team' }
    for (const path of [
      'init',
      'unseal',
      'health',
      'generate-root/attempt',
      'rekey/init',
      'rekey-recovery-key/verify',
    ]) {
      expect(await server.send(`/v1/sys/${path}`, { headers })).toMatchObject({
        status: 400,
        json: { errors: ['operation unavailable in namespaces'] },
      })
    }
    for (const path of ['seal-status', 'leader'])
      expect((await server.send(`/v1/sys/${path}`, { headers })).status).toBe(200)
  })

  test('everything else under sys goes to the core', async () => {
    for (const path of [
      'sys/seal',
      'sys/health/',
      'sys/generate-root-token/attempt',
      'sys/replication/status',
      'sys/rotate',
    ]) {
      await server.send(`/v1/${path}`)
      expect(core.requests.at(-1)!.path).toBe(path)
    }
  })
})

describe('health', () => {
  const states: [HealthState, number, string][] = [
    ['active', 200, 'activecode'],
    ['standby', 429, 'standbycode'],
    ['dr-secondary', 472, 'drsecondarycode'],
    ['performance-standby', 473, 'performancestandbycode'],
    ['uninitialized', 501, 'uninitcode'],
    ['sealed', 503, 'sealedcode'],
  ]
  test.each(states)('%s is %i, or what %s says', async (state, status, parameter) => {
    core.state = state
    const reply = await server.send('/v1/sys/health')
    expect(reply).toMatchObject({
      status,
      json: { initialized: true, performance_standby: state === 'performance-standby' },
    })
    expect(await server.send(`/v1/sys/health?${parameter}=299`)).toMatchObject({ status: 299 })
    expect(await server.send('/v1/sys/health', { method: 'HEAD' })).toMatchObject({ status, text: '' })
    const all = states.map(([, , name]) => `${name}=200`).join('&')
    expect((await server.send(`/v1/sys/health?${all}`)).status).toBe(200)
  })

  test('standbyok and perfstandbyok', async () => {
    const status = async (query: string) => (await server.send(`/v1/sys/health?${query}`)).status
    core.state = 'standby'
    expect(await status('standbyok')).toBe(200)
    expect(await status('standbyok=true&activecode=201')).toBe(201)
    expect(await status('standbyok=false')).toBe(429)
    expect(await status('perfstandbyok=true')).toBe(429)
    core.state = 'performance-standby'
    expect(await status('perfstandbyok=1')).toBe(200)
    expect(await status('standbyok')).toBe(473)
  })

  test.each([
    'activecode=x',
    'sealedcode=99',
    'uninitcode=1000',
    'standbycode=100',
    'standbycode=',
    'standbyok=zz',
    'removedcode=x',
    'haunhealthycode=1',
  ])('refuses %s', async (query) => {
    expect(await server.send(`/v1/sys/health?${query}`)).toMatchObject({ status: 400, json: { errors: [] } })
  })
})
