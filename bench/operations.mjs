/**
 * The operations measured. `prepare` sets up a contender and returns the requests, which the connections take in turn. Everything but
 * logins is asked with a token of one policy and a TTL, as in production; one row with the root token shows what that costs.
 */
import { waitFor } from '@lockstep/dev-env'
import { request } from './load/load.mjs'

const READ_KEYS = 1000
const WRITE_KEYS = 5000
const VALUE = { username: 'app-42', password: 'correct horse battery staple', note: 'x'.repeat(100) }
const POLICY = `
path "kv1/*" { capabilities = ["create", "read", "update"] }
path "kv2/data/*" { capabilities = ["create", "read", "update"] }
path "transit/encrypt/*" { capabilities = ["update"] }
path "auth/token/create" { capabilities = ["update"] }`

const numbers = (count) => Array.from({ length: count }, (_, index) => index)

export const operations = [
  {
    name: 'kv-v1-read',
    title: 'KV v1 read',
    prepare: async ({ client, token }) => {
      await each(numbers(READ_KEYS), (n) => client.write(`kv1/read/${n}`, VALUE))
      return numbers(READ_KEYS).map((n) => request('GET', `kv1/read/${n}`, { token }))
    },
  },
  {
    name: 'kv-v1-root-read',
    title: 'KV v1 read by root',
    prepare: async ({ client }) => {
      await each(numbers(READ_KEYS), (n) => client.write(`kv1/read/${n}`, VALUE))
      return numbers(READ_KEYS).map((n) => request('GET', `kv1/read/${n}`, { token: client.token }))
    },
  },
  {
    name: 'kv-v1-write',
    title: 'KV v1 write',
    prepare: async ({ token }) =>
      numbers(WRITE_KEYS).map((n) => request('PUT', `kv1/write/${n}`, { token, body: { ...VALUE, n } })),
  },
  {
    name: 'kv-v2-read',
    title: 'KV v2 read',
    prepare: async ({ client, token }) => {
      await each(numbers(READ_KEYS), (n) => client.write(`kv2/data/read/${n}`, { data: VALUE }))
      return numbers(READ_KEYS).map((n) => request('GET', `kv2/data/read/${n}`, { token }))
    },
  },
  {
    name: 'kv-v2-write',
    title: 'KV v2 write',
    prepare: async ({ token }) =>
      numbers(WRITE_KEYS).map((n) => request('PUT', `kv2/data/write/${n}`, { token, body: { data: { ...VALUE, n } } })),
  },
  {
    name: 'transit-encrypt',
    title: 'transit encrypt',
    prepare: async ({ client, token }) => {
      await client.write('transit/keys/bench')
      const plaintext = Buffer.from('4111 1111 1111 1111').toString('base64')
      return [request('PUT', 'transit/encrypt/bench', { token, body: { plaintext } })]
    },
  },
  {
    name: 'token-create',
    title: 'token create',
    prepare: async ({ token }) => [
      request('POST', 'auth/token/create', { token, body: { policies: ['default'], ttl: '1h' } }),
    ],
  },
  {
    name: 'approle-login',
    title: 'AppRole login',
    prepare: async ({ client }) => {
      await client.write('auth/approle/role/bench', { token_policies: 'default', token_ttl: '1h' })
      const { role_id } = (await client.read('auth/approle/role/bench/role-id')).body.data
      const { secret_id } = (await client.write('auth/approle/role/bench/secret-id')).body.data
      return [request('POST', 'auth/approle/login', { body: { role_id, secret_id } })]
    },
  },
]

/** Mounts and the token used by the requests. */
export async function prepareContender(contender) {
  const { client } = contender
  await client.write('sys/mounts/kv1', { type: 'kv', options: { version: '1' } })
  await client.write('sys/mounts/kv2', { type: 'kv', options: { version: '2' } })
  await client.write('sys/mounts/transit', { type: 'transit' })
  await client.write('sys/auth/approle', { type: 'approle' })
  await client.write('sys/policies/acl/bench', { policy: POLICY })
  // OpenBao prepares a KV v2 mount in the background and refuses writes until then.
  await waitFor('KV v2', async () => (await client.call('PUT', 'kv2/data/ready', { data: {} })).status === 200)
  const made = await client.write('auth/token/create', { policies: ['bench', 'default'], ttl: '24h' })
  return { ...contender, client, token: made.body.auth.client_token, pid: contender.pid }
}

async function each(items, work) {
  const rest = items.values()
  await Promise.all(
    numbers(16).map(async () => {
      for (const item of rest) await work(item)
    }),
  )
}
