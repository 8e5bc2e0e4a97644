// docs/compatibility.md, row by row, against a running server: what it says is there is there, what it says is not is not.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  freePort,
  type ServerProcess,
  startServerProcess,
  type VaultClient,
  vaultClient,
  waitFor,
} from '@lockstep/dev-env'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const text = readFileSync(join(import.meta.dirname, '../docs/compatibility.md'), 'utf8')
const STATES = ['supported', 'partial', 'not offered']
/** They change what the rows after them meet; until then no cluster role is there, and what needs one is refused with 400. */
const LAST = [/primary\/enable$/, /^sys\/step-down$/, /^sys\/seal$/]
const rank = (path: string): number => LAST.findIndex((pattern) => pattern.test(path))

interface Endpoint {
  verb: string
  path: string
  offered: boolean
}

/** Rows whose first two cells are code: endpoints and mount types. */
function rows(): string[][] {
  return text
    .split('\n')
    .filter((line) => /^\| *`/.test(line))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim().replace(/^`([^`]*)`$/, '$1')),
    )
}

function endpoints(): Endpoint[] {
  const found = rows()
    .filter(([verb]) => /^[A-Z]+$/.test(verb!))
    .flatMap(([verb, path, state]) => {
      expect(STATES, `${verb} ${path}`).toContain(state)
      const kinds = path!.includes(':kind') ? ['performance', 'dr'] : ['']
      return kinds.map((kind) => ({
        verb: verb!,
        path: path!.replace(':kind', kind),
        offered: state !== 'not offered',
      }))
    })
  return found.sort((one, two) => rank(one.path) - rank(two.path))
}

/** The section of the replication API: every row there names a test. */
const replication = text.slice(text.indexOf('\n## Replication\n'), text.indexOf('\n## Without a token'))
const testFiles = new Map(
  [...replication.matchAll(/^\| `([\w-]+)` +\| \[`([\w/.-]+\.test\.ts)`\]/gm)].map(([, name, file]) => [name!, file!]),
)
const covered = replication
  .split('\n')
  .filter(
    (line) => (/^\| `/.test(line) || line.includes(' › ')) && line.startsWith('|') && !line.includes('.test.ts`]'),
  )
  .map((line) => {
    const cells = line.split('|').map((cell) => cell.trim())
    return { row: cells.slice(1, 3).join(' '), test: cells.at(-2)! }
  })

const JSON_TYPES: Record<string, (value: unknown) => boolean> = {
  string: (value) => typeof value === 'string',
  bool: (value) => typeof value === 'boolean',
  int: Number.isInteger,
  list: Array.isArray,
}
/** Rows of tables of fields whose second cell is one of these. */
const fieldsOf = (places: readonly string[]) =>
  replication
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim().replace(/^`(.*)`$/, '$1')))
    .filter(([, , place]) => places.includes(place!))
    .map(([, field, role, type, state, remark]) => ({ field, role, type, state, remark }))
const statusFields = fieldsOf(['both', 'primary', 'secondary', 'reindex', 'sync'])

const types = rows().filter(([table]) => table === 'mounts' || table === 'auth')
const all = endpoints()

describe('the tests that docs/compatibility.md names', () => {
  test('are named by every row of the replication API', () => {
    expect(testFiles.size).toBeGreaterThan(15)
    expect(covered.length).toBeGreaterThan(100)
    expect(covered.filter(({ test }) => !/^[\w-]+ › /.test(test)).map(({ row }) => row)).toEqual([])
  })

  test.each(covered)('$row: $test', ({ test }) => {
    const [name, title] = test.split(' › ')
    const file = testFiles.get(name!)
    expect(file, `a file called ${name}`).toBeDefined()
    const path = join(import.meta.dirname, '..', file!)
    expect(existsSync(path), path).toBe(true)
    const titles = [...readFileSync(path, 'utf8').matchAll(TITLE)].map((found) => found[1] ?? found[2])
    expect(titles).toContain(title)
  })
})

/** `test('title'`, `test("title"`, and the second pair of parentheses of `test.each(...)('title'`. */
const TITLE = /(?:\b(?:test|it)\(|\]\)\(|\)\(|s\)\()\s*(?:'((?:[^'\\]|\\.)+)'|"((?:[^"\\]|\\.)+)")/g

describe('docs/compatibility.md', () => {
  let server: ServerProcess
  let client: VaultClient

  beforeAll(async () => {
    const started = await startDev('compatibility')
    server = started.server
    client = started.client
    await client.write('sys/mounts/kv1', { type: 'kv' })
    await client.write('sys/mounts/transit', { type: 'transit' })
    for (const type of ['userpass', 'approle']) await client.write(`sys/auth/${type}`, { type })
  })
  afterAll(() => server?.stop('SIGKILL'))

  test('has its tables', () => {
    expect(all.length).toBeGreaterThan(200)
    expect(types.length).toBeGreaterThan(25)
    expect(new Set(all.map(({ verb, path }) => `${verb} ${path}`)).size).toBe(all.length)
  })

  test.each(types)('%s of type %s: %s', async (table, type, state) => {
    const reply = await client.call('PUT', `sys/${table}/type-${type}`, { type })
    if (state === 'supported') return expect(reply.status).toBe(204)
    expect(reply.status).toBe(400)
    expect(reply.body.errors[0]).toContain(`plugin not found in the catalog: ${type}`)
  })

  // One test, for each row may depend on what those before it did to the server.
  test.each(
    all.map(
      (endpoint) => [endpoint.verb, endpoint.path, endpoint.offered ? 'offered' : 'not offered', endpoint] as const,
    ),
  )('%s %s is %s', async (verb, path, _, { offered }) => {
    const token = await ownRoot()
    const url = path.replace(/:\w+/g, 'probe')
    const body = verb === 'POST' || verb === 'PATCH' ? {} : undefined
    const headers: Record<string, string> = verb === 'PATCH' ? { 'content-type': 'application/merge-patch+json' } : {}
    const reply = await client.call(verb, url, body, { token, headers })
    const error = String(reply.body?.errors?.[0] ?? '')
    const absent =
      (reply.status === 404 && /unsupported path|no handler for route/.test(error)) ||
      (reply.status === 405 && /unsupported operation/.test(error))
    expect(absent, `${reply.status} ${JSON.stringify(reply.body)}`).toBe(!offered)
    expect(reply.status, error).not.toBe(500)
  })

  test('the status document of a primary has its fields, of their types, and no others of Vault', async () => {
    const other = await startDev('status-fields')
    try {
      const dev = other.client
      for (const kind of ['performance', 'dr']) {
        await dev.write(`sys/replication/${kind}/primary/enable`)
        await waitFor('the role', async () => {
          const reply = await dev.call('GET', `sys/replication/${kind}/status`)
          return reply.body?.data?.mode === 'primary'
        })
      }
      const { data } = (await dev.read('sys/replication/status')).body
      expect(statusFields.length).toBeGreaterThan(20)
      for (const kind of ['performance', 'dr']) {
        for (const { field, role, type, remark } of statusFields) {
          const elsewhere = remark === `${kind === 'dr' ? 'performance' : 'DR'} only`
          const value = data[kind][field!]
          if (elsewhere || !['both', 'primary'].includes(role!)) expect(data[kind], kind).not.toHaveProperty(field!)
          else expect(JSON_TYPES[type!]!(value), `${kind} ${field}: ${JSON.stringify(value)}`).toBe(true)
        }
      }
    } finally {
      await other.server.stop('SIGKILL')
    }
  })

  test('the fields of the neighbours are those of the table, of their types', async () => {
    const other = await startDev('neighbours')
    try {
      const dev = other.client
      await dev.write('sys/replication/dr/primary/enable')
      const token = await waitFor('an activation token', async () => {
        const reply = await dev.call('PUT', 'sys/replication/dr/primary/secondary-token', { id: 'other' })
        return reply.status === 200 && reply.body.wrap_info
      })
      const bodies: Record<string, Record<string, unknown>> = {
        leader: (await dev.read('sys/leader')).body,
        'seal-status': (await dev.read('sys/seal-status')).body,
        wrap_info: token,
      }
      for (const [name, body] of Object.entries(bodies)) {
        const fields = fieldsOf([name]).filter(({ state }) => state === 'supported')
        expect(Object.keys(body).sort(), name).toEqual(fields.map(({ field }) => field).sort())
        for (const { field, type } of fields) expect(JSON_TYPES[type!]!(body[field!]), `${name} ${field}`).toBe(true)
      }
    } finally {
      await other.server.stop('SIGKILL')
    }
  })

  /** Each row has a root token of its own, so that none can end another's. */
  async function ownRoot(): Promise<string> {
    const made = await client.write('auth/token/create-orphan', { policies: ['root'] })
    return made.body.auth.client_token
  }
})

async function startDev(token: string): Promise<{ server: ServerProcess; client: VaultClient }> {
  const port = await freePort()
  const server = await startServerProcess([
    'server',
    '-dev',
    '-dev-no-store-token',
    `-dev-root-token-id=${token}`,
    `-dev-listen-address=127.0.0.1:${port}`,
  ])
  // Dev mode listens first and then initialises.
  await waitFor('dev mode', () => server.output().includes('Root Token:'))
  return { server, client: vaultClient(`http://127.0.0.1:${port}`, { token }) }
}
