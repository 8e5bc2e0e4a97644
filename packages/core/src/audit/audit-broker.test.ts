import { createHmac } from 'node:crypto'
import { mkdtemp, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { memoryStore, StorageError, type Store } from '@lockstep/storage'
import { classRules, vaultRules } from '@lockstep/storage-classes'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { exactNumber } from '../../test/exact-number.ts'
import type { AuditBroker, AuditRecord, CoreRequest, Log, TokenEntry } from '../contracts.ts'
import { type AuditComponents, auditBroker } from './audit-broker.ts'

let folder: string
let file: string
let storage: Store
let errors: { message: string; fields: Record<string, unknown> | undefined }[]
let classes: ReturnType<typeof classRules>
let broker: AuditBroker

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lockstep-audit-'))
  file = join(folder, 'audit.log')
  storage = memoryStore()
  errors = []
  classes = classRules(vaultRules)
  broker = auditBroker(components())
})

afterEach(async () => {
  await broker.close()
  await rm(folder, { recursive: true })
})

function components(change: Partial<AuditComponents> = {}): AuditComponents {
  const log: Log = { debug() {}, info() {}, warn() {}, error: (message, fields) => errors.push({ message, fields }) }
  const random = (length: number) => new Uint8Array(length).map(() => Math.floor(Math.random() * 256))
  return { storage, classes, clock: { now: () => 0 }, log, random, ...change }
}

const enable = (options: Record<string, string> = {}, path = 'file', change: { type?: string; local?: boolean } = {}) =>
  broker.enable(path, {
    type: 'file',
    description: 'd',
    local: false,
    options: { file_path: file, ...options },
    ...change,
  })

// biome-ignore lint/suspicious/noExplicitAny: lines are compared as they are
async function lines(from = file): Promise<Record<string, any>[]> {
  const text = await readFile(from, 'utf8')
  expect(text === '' || text.endsWith('\n')).toBe(true)
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
}

const request: CoreRequest = {
  id: 'r1',
  operation: 'update',
  path: 'secret/data/app',
  data: { password: 'hunter2', attempts: 3, nested: [{ pin: '1234', ok: true }, null] },
  clientToken: 'hvs.client',
  headers: { 'x-trace': 'abc', authorization: 'Bearer hvs.client' },
  remoteAddress: '192.0.2.1',
  remotePort: 5123,
  wrapTtl: 0,
  wrapFormat: '',
}

const token: TokenEntry = {
  id: 'hvs.client',
  accessor: 'acc',
  parent: '',
  policies: ['default', 'app'],
  path: 'auth/userpass/login/mia',
  meta: { username: 'mia' },
  displayName: 'userpass-mia',
  numUses: 0,
  creationTime: 1_700_000_000_000,
  ttl: 3600,
  explicitMaxTtl: 0,
  period: 0,
  type: 'service',
  role: '',
  entityId: 'e1',
  boundCidrs: [],
  renewable: true,
  orphan: true,
  cubbyholeId: 'h1',
}

const mount = { point: 'secret/', type: 'kv', accessor: 'kv_1', class: 'secret' as const }
const decision = { allowed: true, sudo: false, root: false, grantingPolicies: [{ name: 'app', type: 'acl' as const }] }
const requestRecord: AuditRecord = { type: 'request', time: 1_700_000_001_234, request, token, mount, decision }

function responseRecord(envelope: Record<string, unknown>, change: Partial<AuditRecord> = {}): AuditRecord {
  const empty = {
    request_id: 'r1',
    lease_id: '',
    renewable: false,
    lease_duration: 0,
    data: null,
    wrap_info: null,
    warnings: null,
    auth: null,
  }
  return {
    ...requestRecord,
    type: 'response',
    response: { status: 200, envelope: { ...empty, ...envelope } },
    ...change,
  } as AuditRecord
}

async function salt(): Promise<Uint8Array> {
  const [uuid] = await storage.list('audit/')
  return (await storage.get(`audit/${uuid}salt`))!
}

async function hmac(): Promise<(text: string) => string> {
  const key = await salt()
  return (text) => `hmac-sha256:${createHmac('sha256', key).update(text).digest('hex')}`
}

describe('lines', () => {
  test('of a request', async () => {
    await enable()
    await broker.write(requestRecord)
    const h = await hmac()
    expect(await lines()).toEqual([
      {
        time: '2023-11-14T22:13:21.234Z',
        type: 'request',
        auth: {
          client_token: h('hvs.client'),
          accessor: h('acc'),
          display_name: 'userpass-mia',
          policies: ['default', 'app'],
          token_policies: ['default', 'app'],
          policy_results: { allowed: true, granting_policies: [{ name: 'app', type: 'acl', namespace_id: 'root' }] },
          metadata: { username: 'mia' },
          entity_id: 'e1',
          token_type: 'service',
          token_ttl: 3600,
          token_issue_time: '2023-11-14T22:13:20.000Z',
        },
        request: {
          id: 'r1',
          client_id: 'e1',
          operation: 'update',
          mount_point: 'secret/',
          mount_type: 'kv',
          mount_accessor: 'kv_1',
          mount_class: 'secret',
          client_token: h('hvs.client'),
          client_token_accessor: h('acc'),
          namespace: { id: 'root' },
          path: 'secret/data/app',
          data: { password: h('hunter2'), attempts: 3, nested: [{ pin: h('1234'), ok: true }, null] },
          remote_address: '192.0.2.1',
          remote_port: 5123,
        },
      },
    ])
    expect(await readFile(file, 'utf8')).not.toMatch(/hunter2|hvs\.client|1234"/)
  })

  test('of a response with a secret', async () => {
    await enable()
    await broker.write(responseRecord({ lease_id: 'db/creds/x/1', data: { username: 'u' }, warnings: ['w'] }))
    const h = await hmac()
    expect((await lines())[0]!.response).toEqual({
      mount_point: 'secret/',
      mount_type: 'kv',
      mount_accessor: 'kv_1',
      mount_class: 'secret',
      secret: { lease_id: 'db/creds/x/1' },
      data: { username: h('u') },
      warnings: ['w'],
    })
  })

  test('of a login and of a wrapped response', async () => {
    await enable()
    const auth = {
      client_token: 'hvs.new',
      accessor: 'acc2',
      policies: ['default'],
      token_policies: ['default'],
      metadata: null,
      lease_duration: 60,
      renewable: true,
      entity_id: '',
      token_type: 'service',
      orphan: true,
      mfa_requirement: null,
      num_uses: 0,
    }
    const wrap_info = {
      token: 'hvs.wrap',
      accessor: 'acc3',
      ttl: 30,
      creation_time: 't',
      creation_path: 'p',
      wrapped_accessor: 'acc2',
    }
    await broker.write(responseRecord({ auth }))
    await broker.write(responseRecord({ wrap_info }))
    const h = await hmac()
    const [login, wrapped] = await lines()
    expect(login!.response.auth).toEqual({
      client_token: h('hvs.new'),
      accessor: h('acc2'),
      policies: ['default'],
      token_policies: ['default'],
      token_type: 'service',
      token_ttl: 60,
    })
    expect(wrapped!.response.wrap_info).toEqual({
      ttl: 30,
      token: h('hvs.wrap'),
      accessor: h('acc3'),
      creation_time: 't',
      creation_path: 'p',
      wrapped_accessor: h('acc2'),
    })
  })

  test('of errors, bare and raw bodies, and callers without a token', async () => {
    await enable()
    const anonymous: AuditRecord = { type: 'response', time: 0, request: { ...request, clientToken: '', data: {} } }
    await broker.write({ ...anonymous, error: 'permission denied' })
    await broker.write({ ...anonymous, response: { status: 200, bare: { keys: ['k1'] } } })
    await broker.write({
      ...anonymous,
      response: { status: 200, raw: { contentType: 'application/pkix-cert', body: Uint8Array.of(1, 2) } },
    })
    await broker.write({ ...anonymous, response: { status: 204 } })
    const h = await hmac()
    const [denied, bare, raw, empty] = await lines()
    expect(denied).toEqual({
      time: '1970-01-01T00:00:00.000Z',
      type: 'response',
      request: {
        id: 'r1',
        operation: 'update',
        namespace: { id: 'root' },
        path: 'secret/data/app',
        remote_address: '192.0.2.1',
        remote_port: 5123,
      },
      error: 'permission denied',
    })
    expect(bare!.response).toEqual({ data: { keys: [h('k1')] } })
    expect(raw!.response.data).toEqual({
      http_content_type: 'application/pkix-cert',
      http_raw_body: h('AQI='),
      http_status_code: 200,
    })
    expect(empty!.response).toEqual({})
  })

  test('keep number text, times, and odd keys', async () => {
    await enable()
    const data = JSON.parse('{"__proto__":{"a":"hidden"},"constructor":"hidden"}')
    data.exact = exactNumber('1.00')
    data.forged = { isLosslessNumber: true, value: 'in clear' }
    data.time = new Date(0)
    data.big = 2n ** 70n
    data.bytes = Uint8Array.of(1)
    await broker.write({ ...requestRecord, request: { ...request, data } })
    const text = await readFile(file, 'utf8')
    expect(text).toContain('"exact":1.00')
    expect(text).not.toContain('in clear')
    expect(text).toContain('"time":"1970-01-01T00:00:00.000Z"')
    expect(text).toContain('"big":"1180591620717411303424"')
    expect(text).toMatch(/"__proto__":\{"a":"hmac-sha256:/)
    expect(text).not.toContain('hidden')
    expect(text).toContain(`"bytes":"${(await hmac())('AQ==')}"`)
  })
})

describe('options', () => {
  test('log_raw, hmac_accessor, prefix', async () => {
    await enable({ log_raw: 'true', prefix: '@cee: ' })
    await enable({ hmac_accessor: 'false', file_path: join(folder, 'b.log') }, 'b')
    await broker.write(requestRecord)
    const raw = await readFile(file, 'utf8')
    expect(raw.startsWith('@cee: {')).toBe(true)
    const line = JSON.parse(raw.slice(6))
    expect([line.auth.client_token, line.request.data.password]).toEqual(['hvs.client', 'hunter2'])
    const [other] = await lines(join(folder, 'b.log'))
    expect([other!.auth.accessor, other!.request.client_token_accessor]).toEqual(['acc', 'acc'])
    expect(other!.auth.client_token).toMatch(/^hmac-sha256:/)
  })

  test('elide_list_responses counts names in lists, and hides nothing less otherwise', async () => {
    await enable({ elide_list_responses: 'true' })
    const data = { keys: ['a', 'b', 'c'], key_info: { a: { n: 'x' } }, other: 'text' }
    await broker.write(responseRecord({ data }, { request: { ...request, operation: 'list' } }))
    await broker.write(responseRecord({ data: { keys: 'secret' } }, { request: { ...request, operation: 'list' } }))
    await broker.write(responseRecord({ data }))
    const [list, odd, read] = await lines()
    const h = await hmac()
    expect(list!.response.data).toEqual({ keys: 3, key_info: 1, other: h('text') })
    expect(odd!.response.data).toEqual({ keys: h('secret') })
    expect(read!.response.data.keys).toEqual([h('a'), h('b'), h('c')])
  })

  test('what is declared not to be secret stays readable, at the top level only', async () => {
    broker = auditBroker(
      components({
        nonHmacKeys: (accessor) =>
          accessor === 'kv_1' ? { request: ['nested'], response: ['shown'] } : { request: [], response: [] },
        auditedHeaders: () =>
          new Map([
            ['x-trace', { hmac: false }],
            ['authorization', { hmac: true }],
            ['absent', { hmac: true }],
          ]),
      }),
    )
    await enable()
    await broker.write(responseRecord({ data: { shown: 'clear', hidden: { shown: 'x' } } }))
    const h = await hmac()
    const [line] = await lines()
    expect(line!.request.data).toEqual({ password: h('hunter2'), attempts: 3, nested: request.data.nested })
    expect(line!.response.data).toEqual({ shown: 'clear', hidden: { shown: h('x') } })
    expect(line!.request.headers).toEqual({ 'x-trace': ['abc'], authorization: [h('Bearer hvs.client')] })
  })

  test('stdout and discard', async () => {
    const written: string[] = []
    const stdout = new Writable({
      write(chunk, _encoding, done) {
        written.push(String(chunk))
        done()
      },
    })
    broker = auditBroker(components({ stdout }))
    await enable({ file_path: 'stdout' })
    await enable({ file_path: 'discard' }, 'none')
    await broker.write(requestRecord)
    expect(written.length).toBe(1)
    expect(JSON.parse(written[0]!)).toMatchObject({ type: 'request' })
  })

  test('the file is private unless asked otherwise', async () => {
    await writeFile(file, '', { mode: 0o644 })
    await enable({ mode: '0000' })
    expect((await stat(file)).mode & 0o777).toBe(0o644)
    await broker.disable('file')
    await enable({ mode: '0640' })
    expect((await stat(file)).mode & 0o777).toBe(0o640)
    await broker.disable('file')
    await enable()
    expect((await stat(file)).mode & 0o777).toBe(0o600)
  })

  test.each<[Record<string, string>, string]>([
    [{ file_path: '' }, 'file_path is required'],
    [{ format: 'jsonx' }, 'unknown format type "jsonx"'],
    [{ mode: '0755' }, 'mode must not make the file executable'],
    [{ mode: '888' }, 'mode must be octal, for instance 0600'],
    [{ log_raw: 'yes' }, 'log_raw must be true or false'],
    [{ prefix: 'a\nb' }, 'prefix must be one short line'],
  ])('refuses %j', async (options, message) => {
    await expect(enable(options)).rejects.toMatchObject({ code: 'CORE_INVALID_REQUEST', message })
    expect(await storage.list('')).toEqual([])
  })
})

describe('devices', () => {
  test('none: nothing is done, and synchronously', () => {
    expect(broker.write(requestRecord)).toBeUndefined()
  })

  test('are listed, hash by themselves, and go', async () => {
    await enable()
    await enable({ file_path: 'discard' }, '/b/', { local: true })
    expect(broker.list()).toEqual({
      'b/': { type: 'file', path: 'b/', description: 'd', options: { file_path: 'discard' }, local: true },
      'file/': { type: 'file', path: 'file/', description: 'd', options: { file_path: file }, local: false },
    })
    expect(await broker.hash('file', 'hvs.client')).toMatch(/^hmac-sha256:[0-9a-f]{64}$/)
    expect(await broker.hash('file/', 'x')).not.toBe(await broker.hash('b', 'x'))
    await expect(broker.hash('none', 'x')).rejects.toMatchObject({ code: 'CORE_INVALID_REQUEST' })
    await broker.disable('file')
    await broker.disable('file')
    await broker.disable('b')
    expect(broker.list()).toEqual({})
    expect(broker.write(requestRecord)).toBeUndefined()
    expect(await storage.list('')).toEqual([])
    expect(classes.mountPath('anything')).toBeUndefined()
  })

  test('are stored as records with a class of their own', async () => {
    await enable()
    await enable({ file_path: 'discard' }, 'mine', { local: true })
    const [shared] = await storage.list('core/audit/')
    const [local] = await storage.list('core/local-audit/')
    expect(classes.classify(`core/audit/${shared}`)).toEqual({
      class: 'replicated',
      mount: shared,
      mountPath: 'sys/audit/file/',
    })
    expect(classes.classify(`audit/${shared}/salt`)).toMatchObject({ class: 'replicated', mount: shared })
    expect(classes.classify(`core/local-audit/${local}`)).toMatchObject({ class: 'local', mount: local })
    expect(classes.classify(`audit/${local}/salt`)).toMatchObject({ class: 'local', mount: local })
    expect((await salt()).length).toBe(32)
  })

  test('refuse what cannot be', async () => {
    await enable()
    await expect(enable()).rejects.toMatchObject({ code: 'CORE_INVALID_REQUEST', message: 'path already in use' })
    await expect(enable({}, 'file/below')).rejects.toMatchObject({ message: 'path already in use' })
    await expect(enable({}, 's', { type: 'syslog' })).rejects.toMatchObject({
      message: 'unknown backend type: "syslog"',
    })
    await expect(enable({ file_path: join(folder, 'no', 'x') }, 'x')).rejects.toMatchObject({
      code: 'CORE_INVALID_REQUEST',
      message: expect.stringMatching(/^sanity check failed; unable to open ".*" for writing: ENOENT/),
    })
    for (const path of ['', '/', 'a//b', '../a', 'a\nb']) {
      await expect(enable({}, path), path).rejects.toMatchObject({ code: 'CORE_INVALID_REQUEST' })
    }
    expect(Object.keys(broker.list())).toEqual(['file/'])
  })

  test('a shared device cannot be made where shared data is read-only', async () => {
    const refusing = {
      ...storage,
      begin: async () => Promise.reject(Object.assign(new Error('read only'), { code: 'REPLICATION_READ_ONLY' })),
    }
    broker = auditBroker(components({ storage: refusing as unknown as Store }))
    await expect(enable()).rejects.toMatchObject({ code: 'BACKEND_READ_ONLY' })
    expect(broker.list()).toEqual({})
    expect(broker.write(requestRecord)).toBeUndefined()
  })

  test('come back after a restart with the same salt', async () => {
    await enable()
    const hashed = await broker.hash('file', 'x')
    const again = auditBroker(components())
    await again.load()
    expect(await again.hash('file', 'x')).toBe(hashed)
    await again.write(requestRecord)
    expect((await lines()).length).toBe(1)
    await again.close()
  })

  test('follow changes that replication made', async () => {
    const upstream = auditBroker(components({ classes: classRules(vaultRules) }))
    await upstream.enable('file', { type: 'file', description: '', local: false, options: { file_path: file } })
    const [uuid] = await storage.list('core/audit/')
    broker.invalidate(`core/audit/${uuid}`)
    broker.invalidate('core/mounts/x')
    await broker.load()
    await broker.write(requestRecord)
    expect((await lines()).length).toBe(1)
    await upstream.disable('file')
    broker.invalidate(`core/audit/${uuid}`)
    await broker.load()
    expect(broker.write(requestRecord)).toBeUndefined()
    expect(classes.mountPath(uuid!)).toBeUndefined()
    await upstream.close()
  })

  test('without its salt a device lets nothing through, until the salt arrives', async () => {
    await enable()
    const key = await salt()
    const [uuid] = await storage.list('core/audit/')
    await storage.delete(`audit/${uuid}/salt`)
    broker.invalidate(`audit/${uuid}/salt`)
    await broker.load()
    await expect(broker.write(requestRecord)).rejects.toMatchObject({ code: 'CORE_INTERNAL' })
    await storage.put(`audit/${uuid}/salt`, key)
    broker.invalidate(`audit/${uuid}/salt`)
    await broker.load()
    await broker.write(requestRecord)
  })

  test('after closing, requests fail rather than go unaudited', async () => {
    await enable()
    await broker.close()
    await expect(broker.write(requestRecord)).rejects.toMatchObject({ code: 'CORE_INTERNAL' })
  })

  test('a storage failure leaves no device behind', async () => {
    const failing = { ...storage, begin: async () => Promise.reject(new StorageError('STORAGE_UNAVAILABLE', 'away')) }
    broker = auditBroker(components({ storage: failing as unknown as Store }))
    await expect(enable()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
    expect(broker.list()).toEqual({})
  })
})

describe('writing', () => {
  test('when no device takes the record, the request fails; when one does, it does not', async () => {
    await enable({ file_path: '/dev/full', mode: '0' }, 'full')
    await expect(broker.write(requestRecord)).rejects.toMatchObject({
      code: 'CORE_INTERNAL',
      message: 'no audit backend succeeded in logging the request',
    })
    expect(errors).toEqual([
      { message: 'an audit device failed', fields: { path: 'full/', error: expect.stringContaining('ENOSPC') } },
    ])
    await enable()
    await broker.write(requestRecord)
    expect((await lines()).length).toBe(1)
  })

  test('a device whose file failed recovers with the next write', async () => {
    const link = join(folder, 'link')
    await symlink('/dev/full', link)
    await enable({ file_path: link, mode: '0' })
    await expect(broker.write(requestRecord)).rejects.toMatchObject({ code: 'CORE_INTERNAL' })
    await rm(link)
    await broker.write(requestRecord)
    expect((await lines(link)).length).toBe(1)
  })

  test('a record that cannot be formatted fails the request', async () => {
    await enable()
    const data: Record<string, unknown> = {}
    data.self = data
    await expect(broker.write({ ...requestRecord, request: { ...request, data } })).rejects.toMatchObject({
      code: 'CORE_INTERNAL',
    })
    await broker.write(requestRecord)
    expect((await lines()).length).toBe(1)
  })

  test('is done when it resolves, in order, with whole lines, however many at once', async () => {
    await enable()
    await Promise.all(
      Array.from({ length: 500 }, async (_, n) => {
        await broker.write({ ...requestRecord, request: { ...request, id: `r${n}` } })
        if (n % 100 !== 0) return
        // Later lines may be half written at this moment; this one must be there in full.
        const whole = (await readFile(file, 'utf8')).split('\n').slice(0, -1)
        expect(whole.some((line) => JSON.parse(line).request.id === `r${n}`)).toBe(true)
      }),
    )
    expect((await lines()).map((line) => line.request.id)).toEqual(Array.from({ length: 500 }, (_, n) => `r${n}`))
  })

  test('reopens after rotation, losing nothing under load', async () => {
    await enable()
    const writes = Array.from({ length: 100 }, (_, n) =>
      broker.write({ ...requestRecord, request: { ...request, id: `r${n}` } }),
    )
    await rename(file, `${file}.1`)
    await broker.reopen()
    await Promise.all(writes)
    await broker.write(requestRecord)
    const [before, after] = await Promise.all([lines(`${file}.1`), lines()])
    expect(before.length + after.length).toBe(101)
    expect(after.length).toBeGreaterThan(0)
  })

  test('a file that cannot be opened again keeps being written under its old name', async () => {
    await enable()
    await broker.write(requestRecord)
    const moved = `${folder}-moved`
    await rename(folder, moved)
    await broker.reopen()
    await broker.write(requestRecord)
    expect((await lines(join(moved, 'audit.log'))).length).toBe(2)
    expect(errors.map(({ message }) => message)).toEqual(['an audit file was not opened again'])
    await rename(moved, folder)
  })
})
