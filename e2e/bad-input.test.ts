// Whatever is wrong with a request, a command line, a configuration or a data directory: a clear error that names it, exit code 1
// for what stops the start, and nothing lost.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { type Cluster, freePort, linkSecondary, replicationStatus, waitFor, waitUntilInSync } from '@lockstep/dev-env'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { scratch } from './scratch.ts'

const files = scratch()
const bin = join(dirname(createRequire(import.meta.url).resolve('@lockstep/server/package.json')), 'bin', 'lockstep.js')

describe('requests', () => {
  let cluster: Cluster
  const call: Cluster['client']['call'] = (...args) => cluster.client.call(...args)
  /** Status and first error. */
  const refusal = async (...args: Parameters<typeof call>) => {
    const { status, body } = await call(...args)
    return [status, body?.errors?.[0]]
  }
  /** The path goes out as it is written: URL classes would clean it. */
  function raw(method: string, path: string, headers: Record<string, string> = {}) {
    return new Promise<{ status: number; location: string | undefined; text: string }>((resolve, reject) => {
      const outgoing = request(
        `${cluster.address}`,
        { method, path, headers: { 'x-vault-token': cluster.client.token, ...headers } },
        (incoming) => {
          let text = ''
          incoming.on('data', (chunk) => (text += chunk))
          incoming.on('end', () => resolve({ status: incoming.statusCode!, location: incoming.headers.location, text }))
        },
      )
      outgoing.on('error', reject)
      outgoing.end()
    })
  }

  beforeAll(async () => {
    cluster = await files.cluster('requests', { shares: 3, threshold: 2 })
    await cluster.client.write('sys/mounts/kv', { type: 'kv' })
    await cluster.client.write('kv/a', { kept: 'yes' })
  })
  afterAll(async () => {
    expect((await cluster.client.read('kv/a')).body.data).toEqual({ kept: 'yes' })
    expect(cluster.process.output()).not.toContain('internal error')
  })

  test('malformed JSON', async () => {
    for (const text of ['{"a":', '{"a":1,}', 'not json', '{"a":1}{"b":2}', '{"a":"\u0000"}']) {
      const [status, error] = await refusal('PUT', 'kv/b', text)
      expect(status, text).toBe(400)
      expect(error, text).toMatch(/^failed to parse JSON input: invalid JSON/)
    }
    // The message gives a position, never what stands there.
    expect((await refusal('PUT', 'kv/b', '{"password":"hunter2"'))[1]).not.toContain('hunter2')
  })

  test('a top level that is no object', async () => {
    for (const text of ['[]', '"text"', '42', 'true']) {
      expect(await refusal('PUT', 'kv/b', text), text).toEqual([
        400,
        'failed to parse JSON input: the top level must be an object',
      ])
    }
  })

  test('a body past the limit is cut off with 413, announced or not', async () => {
    const tooMuch = 'x'.repeat(33 * 1024 * 1024)
    expect(await refusal('PUT', 'kv/b', tooMuch)).toEqual([413, 'http: request body too large'])
    const { hostname, port } = new URL(cluster.address)
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(Number(port), hostname)
      let text = ''
      socket.on('data', (chunk) => (text += chunk))
      socket.on('close', () => resolve(text))
      socket.on('error', (error: NodeJS.ErrnoException) => (text === '' ? reject(error) : resolve(text)))
      socket.write(
        `PUT /v1/kv/b HTTP/1.1\r\nHost: x\r\nX-Vault-Token: ${cluster.client.token}\r\nTransfer-Encoding: chunked\r\n\r\n`,
      )
      const block = `100000\r\n${'y'.repeat(0x100000)}\r\n`
      for (let n = 0; n < 34; n++) socket.write(block)
    })
    expect(answer).toMatch(/^HTTP\/1\.1 413 /)
    expect(answer).toContain('http: request body too large')
  })

  test('JSON too deep or with too many values', async () => {
    const deep = `{"a":${'['.repeat(5000)}${']'.repeat(5000)}}`
    expect(await refusal('PUT', 'kv/b', deep)).toEqual([
      400,
      'refused JSON input due to high complexity: nested more than 300 levels deep',
    ])
    const wide = `{"a":[${'0,'.repeat(600_000)}0]}`
    expect(await refusal('PUT', 'kv/b', wide)).toEqual([
      400,
      'refused JSON input due to high complexity: more than 500000 values',
    ])
  })

  test('a bad Wrap-TTL', async () => {
    for (const ttl of ['soon', '-5', '10 minutes']) {
      const [status, error] = await refusal('GET', 'kv/a', undefined, { headers: { 'x-vault-wrap-ttl': ttl } })
      expect(status, ttl).toBe(400)
      expect(error, ttl).toContain('error parsing X-Vault-Wrap-TTL header')
    }
  })

  test('no token and bad tokens', async () => {
    for (const token of ['', 'hvs.nothing', 'x'.repeat(5000), 'hvb.AAAA', 'a.b.c']) {
      const [status, error] = await refusal('GET', 'kv/a', undefined, { token })
      expect(status, token).toBe(403)
      expect(error, token).toContain('permission denied')
    }
    expect(await refusal('PUT', 'auth/token/lookup', { token: 'hvs.nothing' })).toEqual([403, 'bad token'])
    expect(await refusal('PUT', 'sys/wrapping/unwrap', { token: 'hvs.nothing' })).toEqual([
      400,
      'wrapping token is not valid or does not exist',
    ])
  })

  test('bad unseal shares', async () => {
    const victim = await files.cluster('shares', { shares: 3, threshold: 2 })
    await victim.client.write('sys/mounts/kv', { type: 'kv' })
    await victim.client.write('kv/a', { kept: 'yes' })
    await victim.client.write('sys/seal')
    const unseal = async (body: object | string) => {
      const reply = await victim.client.call('PUT', 'sys/unseal', body)
      return [reply.status, reply.body.errors?.[0] ?? reply.body.progress]
    }
    const missing = "'key' must be specified in request body as JSON, or 'reset' set to true"
    const encoding = "'key' must be a valid hex or base64 string"
    expect(await unseal({})).toEqual([400, missing])
    expect(await unseal({ key: '' })).toEqual([400, missing])
    for (const key of ['not/hex or base64', 'abc', 42, ['x'], 'é'.repeat(20)]) {
      expect(await unseal({ key }), JSON.stringify(key)).toEqual([400, encoding])
    }
    // A share of the wrong length and one of another cluster show only when they are combined.
    expect(await unseal({ key: 'abcd' })).toEqual([200, 1])
    expect(await unseal({ key: victim.keys[0] })).toEqual([400, 'unseal failed, invalid key'])
    expect(await unseal({ key: randomBytes(33).toString('hex') })).toEqual([200, 1])
    expect(await unseal({ key: victim.keys[0] })).toEqual([400, 'unseal failed, invalid key'])
    // The same share twice does not count twice.
    expect(await unseal({ key: victim.keys[0] })).toEqual([200, 1])
    expect(await unseal({ key: victim.keys[0] })).toEqual([200, 1])
    expect(await unseal({ key: Buffer.from(victim.keys[0]!, 'hex').toString('base64') })).toEqual([200, 1])
    expect(await unseal({ reset: true })).toEqual([200, 0])
    await victim.unseal()
    expect((await victim.client.read('kv/a')).body.data).toEqual({ kept: 'yes' })
  })

  test('bad init', async () => {
    const fresh = await files.cluster('fresh', { bare: true })
    const init = async (body: object) => {
      const reply = await fresh.client.call('PUT', 'sys/init', body)
      return [reply.status, reply.body.errors?.[0]]
    }
    for (const body of [
      { secret_shares: 2, secret_threshold: 3 },
      { secret_shares: 300, secret_threshold: 3 },
      { secret_shares: 3, secret_threshold: 1 },
      { secret_shares: -1, secret_threshold: 1 },
    ]) {
      const [status, error] = await init(body)
      expect(status, JSON.stringify(body)).toBe(400)
      expect(error, JSON.stringify(body)).toMatch(/^invalid seal configuration: /)
    }
    expect(await init({ secret_shares: 'many', secret_threshold: 1 })).toEqual([
      400,
      'secret_shares: expected a whole number',
    ])
    expect((await init({ secret_shares: 1, secret_threshold: 1, pgp_keys: ['x'] }))[1]).toContain('pgp_keys')
    expect((await fresh.client.read('sys/init')).body).toEqual({ initialized: false })
    expect(await refusal('PUT', 'sys/init', { secret_shares: 1, secret_threshold: 1 })).toEqual([
      400,
      'Vault is already initialized',
    ])
  })

  test('bad policies', async () => {
    const policy = (text: unknown) => refusal('PUT', 'sys/policies/acl/bad', { policy: text })
    expect(await policy('path "x" {\n  capabilities = ["read"\n}\n')).toEqual([
      400,
      'failed to parse policy: At 4:1: object expected closing RBRACE got: EOF',
    ])
    expect(await policy('path "x" { capabilities = ["fly"] }')).toEqual([
      400,
      'failed to parse policy: path "x": invalid capability "fly"',
    ])
    expect(await policy('path "x" { capabilites = ["read"] }')).toEqual([
      400,
      expect.stringMatching(/invalid key "capabilites" on line 1/),
    ])
    expect(await policy('path "a+*" { capabilities = ["read"] }')).toEqual([
      400,
      expect.stringContaining("'+*' is forbidden"),
    ])
    expect(await policy('')).toEqual([400, "'policy' parameter not supplied or empty"])
    expect(await policy('{"path": ["x"')).toEqual([400, expect.stringContaining('failed to parse policy')])
    expect((await call('GET', 'sys/policies/acl/bad')).status).toBe(404)
    expect((await call('PUT', 'sys/policies/acl/root', { policy: 'path "x" {}' })).status).toBe(400)
  })

  test('unknown fields are ignored, known ones of a wrong type are named', async () => {
    expect((await call('PUT', 'auth/token/create', { policies: ['default'], no_such_field: 1 })).status).toBe(200)
    expect((await call('PUT', 'sys/mounts/other', { type: 'kv', no_such_field: {} })).status).toBe(204)
    // Vault's own words, which leave the field to be guessed.
    expect(await refusal('PUT', 'auth/token/create', { ttl: 'soon' })).toEqual([400, 'time: invalid duration "soon"'])
    const typed = await refusal('PUT', 'sys/mounts/third', { type: 'kv', local: 'perhaps' })
    expect(typed[0]).toBe(400)
    expect(typed[1]).toContain('local')
    expect((await refusal('PUT', 'sys/mounts/third', { type: 'nope' }))[1]).toContain('nope')
  })

  test('unknown paths, unsupported verbs', async () => {
    expect(await refusal('GET', 'nowhere/at/all')).toEqual([
      404,
      expect.stringContaining('no handler for route "nowhere/at/all". route entry not found.'),
    ])
    expect(await refusal('GET', 'sys/nowhere')).toEqual([404, expect.stringContaining('unsupported path')])
    expect((await raw('GET', '/elsewhere')).status).toBe(404)
    expect(await refusal('DELETE', 'sys/mounts')).toEqual([405, expect.stringContaining('unsupported operation')])
    expect(await refusal('PUT', 'sys/seal-status', {})).toEqual([405, undefined])
    expect(await refusal('LIST', 'auth/token/lookup-self')).toEqual([
      405,
      expect.stringContaining('unsupported operation'),
    ])
    expect((await raw('HEAD', '/v1/kv/a')).status).toBe(405)
    expect((await raw('TRACE', '/v1/kv/a')).status).toBe(405)
    const patch = await refusal('PATCH', 'kv/a', { a: 1 })
    expect(patch[0]).toBe(415)
    expect(patch[1]).toContain('application/merge-patch+json')
    expect(await refusal('PUT', 'kv/a/', { a: 1 })).toEqual([400, "cannot write to a path ending in '/'"])
  })

  test('path traversal', async () => {
    for (const path of ['/v1/kv/../sys/mounts', '/v1/kv/./a', '/v1//kv/a', '/../../etc/passwd']) {
      const reply = await raw('GET', path)
      expect(reply.status, path).toBe(307)
      expect(reply.location, path).not.toContain('..')
    }
    for (const path of ['/v1/kv/%2e%2e/sys/mounts', '/v1/kv/%2E%2E%2Fa', '/v1/kv/..%2fa', '/v1/kv/%00', '/v1/kv/%ff']) {
      const reply = await raw('GET', path)
      expect(reply.status, path).toBe(400)
      expect(JSON.parse(reply.text).errors[0], path).toMatch(/path/)
    }
  })

  test('not HTTP at all', async () => {
    const { hostname, port } = new URL(cluster.address)
    for (const bytes of [
      '\x16\x03\x01\x02\x00',
      'GET / HTTP/9.9\r\n\r\n',
      `GET /v1/${'a'.repeat(100_000)} HTTP/1.1\r\n\r\n`,
    ]) {
      await new Promise<void>((resolve) => {
        const socket = connect(Number(port), hostname, () => socket.end(bytes))
        socket.on('error', () => {})
        socket.on('close', () => resolve())
        socket.resume()
      })
    }
    expect((await call('GET', 'sys/health')).status).toBe(200)
  })
})

describe('replication in the wrong state', () => {
  test('what a role forbids is named', async () => {
    const primary = await files.cluster('primary')
    const dr = await files.cluster('dr')
    const refused = async (cluster: Cluster, path: string, body: object = {}) => {
      const reply = await cluster.client.call('PUT', `sys/replication/${path}`, body)
      return [reply.status, reply.body.errors?.[0]]
    }
    for (const kind of ['performance', 'dr'] as const) {
      const missing = kind === 'dr' ? 'Not a DR secondary.' : 'cluster is not a performance replication secondary'
      expect(await refused(primary, `${kind}/primary/demote`)).toEqual([
        400,
        `cluster is not a ${kind} replication primary`,
      ])
      expect(await refused(primary, `${kind}/primary/secondary-token`, { id: 'x' })).toEqual([
        400,
        `cluster is not a ${kind} replication primary`,
      ])
      expect(await refused(primary, `${kind}/secondary/promote`)).toEqual([400, missing])
      expect(await refused(primary, `${kind}/secondary/update-primary`, { token: '' })).toEqual([400, missing])
      expect(await refused(primary, `${kind}/secondary/enable`)).toEqual([
        400,
        'token: expected a secondary activation token',
      ])
    }
    await primary.client.write('sys/replication/dr/primary/enable')
    await waitFor('the primary role', async () => (await replicationStatus(primary, 'dr'))?.mode === 'primary')
    expect(await refused(primary, 'dr/primary/enable')).toEqual([
      400,
      'dr replication is already enabled on this cluster',
    ])
    expect(await refused(primary, 'dr/primary/secondary-token')).toEqual([400, expect.stringContaining('id')])
    expect(await refused(primary, 'dr/primary/secondary-token', { id: 'x', ttl: 'soon' })).toEqual([
      400,
      expect.stringContaining('ttl'),
    ])
    expect(await refused(primary, 'dr/primary/secondary-token', { id: 'a/../b' })).toEqual([
      400,
      expect.stringMatching(/^id: /),
    ])
    expect(await refused(primary, 'dr/primary/revoke-secondary', { id: 'nobody' })).toEqual([
      400,
      'id: no secondary has the id "nobody"',
    ])
    expect(await refused(primary, 'dr/secondary/enable', { token: 'x' })).toEqual([
      400,
      'dr replication is already enabled on this cluster',
    ])
    await linkSecondary(primary, dr, 'dr', 'site')
    await waitUntilInSync(primary, dr, 'dr')
    for (const path of ['dr/secondary/enable', 'performance/secondary/enable', 'performance/primary/enable']) {
      const [status, error] = await refused(dr, path, { token: 'x' })
      expect(status, path).toBe(400)
      expect(error, path).toMatch(/DR secondary/)
    }
    expect((await replicationStatus(dr, 'dr')).mode).toBe('secondary')
  })

  test('a paths filter that cannot be', async () => {
    const primary = await files.cluster('filtering')
    await primary.client.write('sys/replication/performance/primary/enable')
    await waitFor('the primary role', async () => (await replicationStatus(primary, 'performance'))?.mode === 'primary')
    const filter = async (body: object) => {
      const reply = await primary.client.call('PUT', 'sys/replication/performance/primary/paths-filter/x', body)
      return [reply.status, reply.body?.errors?.[0]]
    }
    expect(await filter({ mode: 'sometimes', paths: ['kv/'] })).toEqual([400, expect.stringContaining('mode')])
    expect((await filter({ mode: 'deny', paths: ['sys/'] }))[0]).toBe(400)
  })
})

describe('starting', () => {
  let cluster: Cluster
  let base: Record<string, unknown>
  let n = 0

  beforeAll(async () => {
    cluster = await files.cluster('starting')
    await cluster.client.write('sys/mounts/kv', { type: 'kv' })
    await cluster.client.write('kv/a', { kept: 'yes' })
    await cluster.stop()
    base = JSON.parse(await readFile(join(cluster.directory, 'config.json'), 'utf8'))
  })

  /** Exit code and output of `lockstep server` with this configuration text; ended after `limitMs` when it does not end itself. */
  async function server(text: string, extension = 'json', args: string[] = [], limitMs = 20_000) {
    const file = join(await files.path('.'), `bad-${n++}.${extension}`)
    await writeFile(file, text)
    return { ...(await run(['server', `-config=${file}`, ...args], limitMs)), file }
  }
  function run(args: string[], limitMs = 20_000) {
    return new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve, reject) => {
      const child = spawn(process.execPath, [bin, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
      let [stdout, stderr] = ['', '']
      child.stdout.on('data', (chunk) => (stdout += chunk))
      child.stderr.on('data', (chunk) => (stderr += chunk))
      child.once('error', reject)
      const timer = setTimeout(() => child.kill('SIGKILL'), limitMs)
      child.once('close', (code) => {
        clearTimeout(timer)
        resolve({ code, stdout, stderr })
      })
    })
  }
  /** Refused with exit code 1 and one line. */
  async function refused(text: string, message: RegExp | string, extension = 'json'): Promise<void> {
    const { code, stdout, stderr, file } = await server(text, extension)
    const line = stderr.replaceAll(file, 'FILE')
    expect(line).toMatch(/^lockstep: [^\n]+\n$/)
    if (typeof message === 'string') expect(line).toBe(`lockstep: ${message}\n`)
    else expect(line).toMatch(message)
    expect(code).toBe(1)
    expect(stdout).not.toContain('started!')
  }
  async function intact(): Promise<void> {
    await cluster.start()
    expect((await cluster.client.read('kv/a')).body.data).toEqual({ kept: 'yes' })
    await cluster.stop()
  }
  // Whatever the refusals of a test were: the cluster starts as before and holds its data.
  afterEach(intact)
  const changed = (change: object) => JSON.stringify({ ...base, ...change })

  test('command lines', async () => {
    for (const [args, message] of [
      [[], 'a command is missing'],
      [['sevrer'], 'unknown command "sevrer"'],
      [['server', '-cofnig=x'], '-cofnig'],
      [['server', '-config=/nowhere/at/all.hcl'], '/nowhere/at/all.hcl: cannot be read (ENOENT)'],
      [['server', '-log-level=loud', '-dev'], '-log-level'],
    ] as [string[], string][]) {
      const { code, stderr } = await run(args)
      expect(stderr, args.join(' ')).toContain(message)
      expect(code, args.join(' ')).toBe(1)
    }
  })

  test('a configuration that is not HCL', () =>
    refused('storage "level" {\n  path = "x"\n\nlistener "tcp" {\n', /FILE: .*(line|At) \d+/, 'hcl'))
  test('a configuration that is not JSON', () =>
    refused('{"storage": {"level": {"path": "x"}', /FILE: .*(line|At) \d+/))
  test('the same attribute twice', () =>
    refused('storage "level" {\n  path = "x"\n  path = "y"\n}\n', /FILE: .*path.*3|FILE: .*3.*path/, 'hcl'))
  test('no storage', () =>
    refused(changed({ storage: undefined }), 'no storage is configured: add storage "level" { path = "..." }'))
  test('an unknown storage', () =>
    refused(
      changed({ storage: { floppy: {} } }),
      `FILE: storage "floppy": unknown storage type; it must be 'level', 'postgresql', 'etcd' or 'inmem'`,
    ))
  test('no listener', () =>
    refused(changed({ listener: [] }), 'no listener is configured: add listener "tcp" { address = "..." }'))
  test('known keys of a wrong type', async () => {
    await refused(changed({ cluster_name: 42 }), 'FILE: cluster_name must be a string')
    await refused(
      changed({ default_lease_ttl: 'long' }),
      'FILE: default_lease_ttl must be a duration such as "90s" or "768h"',
    )
    await refused(changed({ log_level: 'loud' }), /FILE: log_level must be/)
    await refused(changed({ storage: { level: { path: 7 } } }), 'FILE: storage "level": path must be a string')
    await refused(changed({ api_addr: 'not a url' }), /api_addr must be a URL/)
    await refused(
      changed({ listener: [{ tcp: { address: '127.0.0.1', tls_disable: true } }] }),
      'FILE: listener "tcp": address must be "host:port"',
    )
    await refused(
      changed({ listener: [{ tcp: { address: '127.0.0.1:0', tls_disable: 'perhaps' } }] }),
      'FILE: listener "tcp": tls_disable must be true or false',
    )
  })

  test('unknown keys are named in a warning and ignored', async () => {
    const file = join(cluster.directory, 'config.json')
    await writeFile(file, changed({ no_such_key: 1, telemetry: { statsd_address: 'x' } }))
    await cluster.start()
    expect(cluster.process.output()).toMatch(/\[WARN\].*unknown key no_such_key is ignored/)
    expect(cluster.process.output()).toMatch(/\[WARN\].*the keys of telemetry have no effect/)
    expect((await cluster.client.read('kv/a')).body.data).toEqual({ kept: 'yes' })
    await cluster.stop()
    await writeFile(file, changed({}))
  })

  test('a port in use, of the API and of the cluster', async () => {
    const { createServer } = await import('node:net')
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const { port } = taken.address() as { port: number }
    const listening = (address: number, cluster: number) =>
      changed({
        listener: [
          { tcp: { address: `127.0.0.1:${address}`, cluster_address: `127.0.0.1:${cluster}`, tls_disable: true } },
        ],
      })
    try {
      await refused(listening(port, await freePort()), `listener "tcp" 127.0.0.1:${port}: address already in use`)
      await refused(listening(await freePort(), port), `cluster listener 127.0.0.1:${port}: address already in use`)
    } finally {
      taken.close()
    }
  })

  test('a data directory that another process holds', async () => {
    await cluster.start()
    const ports = [await freePort(), await freePort()]
    const { code, stderr } = await server(
      changed({
        listener: [
          { tcp: { address: `127.0.0.1:${ports[0]}`, cluster_address: `127.0.0.1:${ports[1]}`, tls_disable: true } },
        ],
      }),
    )
    const data = join(cluster.directory, 'data')
    expect(stderr).toBe(
      `lockstep: storage "level": the data directory is in use by another process (data directory ${data} is in use by another process)\n`,
    )
    expect(code).toBe(1)
    expect((await cluster.client.read('kv/a')).body.data).toEqual({ kept: 'yes' })
    await cluster.stop()
  })

  test('data of a newer format: of the data directory, and of what is in it', async () => {
    const { ClassicLevel } = createRequire(createRequire(import.meta.url).resolve('@lockstep/storage-level'))(
      'classic-level',
    )
    const data = join(cluster.directory, 'data')
    const edit = async (key: string, change: (record: { format: number }) => object): Promise<Buffer> => {
      const database = new ClassicLevel(data, { keyEncoding: 'utf8', valueEncoding: 'buffer' })
      const before: Buffer = await database.get(key)
      const next = before === undefined ? {} : JSON.parse(before.toString())
      await database.put(key, Buffer.from(JSON.stringify(change(next))), { sync: true })
      await database.close()
      return before
    }
    for (const [key, message] of [
      ['', /the data was written by a newer version of this server .*format 99/],
      ['generation', /newer version \(format 99, this version reads up to \d+\)/],
    ] as [string, RegExp][]) {
      const before = await edit(key, (record) => ({ current: 0, next: 1, ...record, format: 99 }))
      const { code, stderr } = await server(changed({}))
      expect(stderr).toMatch(/^lockstep: [^\n]+\n$/)
      expect(stderr).toMatch(message)
      expect(code).toBe(1)
      if (before === undefined) await edit(key, () => ({ format: 1, current: 0, next: 1 }))
      else await edit(key, () => JSON.parse(before.toString()))
      await intact()
    }
  })

  test('a data directory that is something else', async () => {
    const scratchDirectory = await files.path('odd')
    await mkdir(scratchDirectory, { recursive: true })
    const file = join(scratchDirectory, 'a-file')
    await writeFile(file, 'x')
    await refused(changed({ storage: { level: { path: file } } }), /storage "level": .*is not a directory/)
    const missing = join(scratchDirectory, 'not', 'mounted')
    await refused(changed({ storage: { level: { path: missing } } }), /the parent of data directory .* does not exist/)
    const lost = join(scratchDirectory, 'lost')
    await mkdir(lost)
    await writeFile(join(lost, '000005.ldb'), 'x')
    await refused(
      changed({ storage: { level: { path: lost } } }),
      /storage "level": the stored data is damaged .*CURRENT is missing/,
    )
  })

  test('a PostgreSQL that is not there', async () => {
    const connection_url = `postgres://lockstep:sesame@127.0.0.1:${await freePort()}/none`
    const { code, stderr } = await server(changed({ storage: { postgresql: { connection_url } } }))
    expect(stderr).toMatch(/^lockstep: storage "postgresql": the storage cannot be reached [^\n]*\n$/)
    expect(stderr).not.toContain('sesame')
    expect(code).toBe(1)
  })

  test('TLS files', async () => {
    const directory = await files.path('tls')
    await mkdir(directory, { recursive: true })
    const nonsense = join(directory, 'nonsense.pem')
    await writeFile(nonsense, 'nonsense')
    const tls = (files: object) => changed({ listener: [{ tcp: { address: '127.0.0.1:0', ...files } }] })
    await refused(tls({}), 'FILE: listener "tcp": tls_cert_file must be a certificate file, unless tls_disable = true')
    const absent = join(directory, 'absent.pem')
    await refused(
      tls({ tls_cert_file: absent, tls_key_file: nonsense }),
      `tls_cert_file ${absent}: no such file or directory`,
    )
    await refused(
      tls({ tls_cert_file: nonsense, tls_key_file: nonsense }),
      `tls_cert_file ${nonsense}: is not a PEM certificate`,
    )
    await refused(
      tls({ tls_cert_file: directory, tls_key_file: nonsense }),
      `tls_cert_file ${directory}: is a directory`,
    )
  })

  test('seals', async () => {
    const seal = (current_key: unknown, type = 'static') =>
      changed({ seal: { [type]: { current_key_id: 'a', current_key } } })
    await refused(seal('c2hvcnQ='), 'seal "static": current_key: expected 32 bytes as hex or base64')
    await refused(seal('file:///nowhere/key'), 'seal "static": current_key: file:///nowhere/key cannot be read: ENOENT')
    await refused(seal('env://NO_SUCH_VARIABLE'), 'seal "static": current_key: env://NO_SUCH_VARIABLE is not set')
    await refused(seal(undefined), 'FILE: seal "static": current_key must be set')
    await refused(
      seal('x', 'awskms'),
      `FILE: seal "awskms": this seal type is not available; it must be 'static', 'transit', 'pkcs11' or 'shamir'`,
    )
  })

  test('the wrong key of an auto seal', async () => {
    const right = { static: { current_key_id: 'a', current_key: randomBytes(32).toString('hex') } }
    const sealed = await files.cluster('sealed', { config: { seal: right } })
    await sealed.client.write('sys/mounts/kv', { type: 'kv' })
    await sealed.client.write('kv/a', { kept: 'yes' })
    await sealed.stop()
    const file = join(sealed.directory, 'config.json')
    const config = await readFile(file, 'utf8')
    const other = randomBytes(32).toString('hex')
    const reseal = (seal?: object) => JSON.stringify({ ...JSON.parse(config), seal })
    // The key may yet come back, as that of a seal elsewhere may: the node stays, sealed, and says why.
    for (const [current_key_id, message] of [
      ['a', /the auto seal could not open the stored root key: auto seal static: the envelope cannot be decrypted/],
      ['b', /made with a key this seal does not hold/],
    ] as const) {
      await writeFile(file, reseal({ static: { current_key_id, current_key: other } }))
      await sealed.startSealed()
      await waitFor('the cause', () => message.test(sealed.process.output()))
      expect((await sealed.client.read('sys/seal-status')).body).toMatchObject({ type: 'static', sealed: true })
      expect((await sealed.client.call('GET', 'sys/health')).status).toBe(503)
      await sealed.stop()
      expect(sealed.process.output()).not.toContain(other)
    }
    const { code, stderr } = await server(reseal())
    expect(stderr).toMatch(/^lockstep: core: [^\n]+\n$/)
    expect(stderr).toMatch(/cannot seal migrate from "static" to "Shamir", no disabled seal in configuration/)
    expect(code).toBe(1)
    await writeFile(file, config)
    await sealed.start()
    expect((await sealed.client.read('kv/a')).body.data).toEqual({ kept: 'yes' })
  })
})
