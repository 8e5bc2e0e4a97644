import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ConfigError } from '../src/config/config-error.ts'
import { loadConfig } from '../src/config/load-config.ts'
import { parseSize } from '../src/config/size.ts'

let directory: string
let count = 0
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lockstep-config-'))
})
afterAll(() => rm(directory, { recursive: true }))

async function file(text: string, name = `${count++}.hcl`): Promise<string> {
  const path = join(directory, name)
  await writeFile(path, text)
  return path
}
const load = async (text: string, environment = {}) => loadConfig([await file(text)], environment)
async function refusal(text: string, environment = {}): Promise<string> {
  try {
    await load(text, environment)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as Error).message.replace(`${directory}/`, '')
  }
  throw new Error('accepted')
}

const storage = 'storage "inmem" {}\n'
const listener = 'listener "tcp" { tls_disable = 1 }\n'

describe('a configuration', () => {
  test('with defaults', async () => {
    const { config, warnings } = await load(storage + listener)
    expect(warnings).toEqual([])
    expect(config).toEqual({
      storage: { type: 'inmem' },
      listeners: [
        {
          address: '127.0.0.1:8200',
          clusterAddress: '127.0.0.1:8201',
          tls: undefined,
          maxRequestSize: 33_554_432,
          maxRequestDuration: 90_000,
          requireRequestHeader: false,
          disableReplicationStatus: false,
          unauthenticatedMetrics: false,
          forwardedFor: { authorizedAddrs: [], hopSkips: 0, rejectNotPresent: true, rejectNotAuthorized: true },
          customHeaders: {},
        },
      ],
      seal: undefined,
      disabledSeal: undefined,
      apiAddr: 'http://127.0.0.1:8200',
      clusterAddr: 'https://127.0.0.1:8201',
      disableClustering: false,
      clusterName: '',
      replication: {
        resolverDiscoverServers: true,
        logshipperBufferLength: undefined,
        logshipperBufferSize: undefined,
        logshipperBufferAge: 86_400_000,
        allowForwardingViaHeader: false,
        bestEffortWalWaitDuration: 2_000,
        allowForwardingViaToken: '',
        scrubInterval: 86_400_000,
      },
      logLevel: 'info',
      logFormat: 'standard',
      defaultLeaseTtl: 768 * 3_600_000,
      maxLeaseTtl: 768 * 3_600_000,
      pidFile: undefined,
      enableUnauthenticatedAccess: undefined,
      dev: undefined,
    })
  })

  const full = `
    storage "level" { path = "/var/lib/lockstep" }
    listener "tcp" {
      address         = "0.0.0.0:8200"
      cluster_address = "[::1]:9201"
      tls_cert_file   = "/c.pem"   tls_key_file = "/k.pem"
      tls_client_ca_file = "/ca.pem"
      tls_min_version = "tls13"
      tls_require_and_verify_client_cert = "true"
      x_forwarded_for_authorized_addrs = "10.0.0.0/8, ::1"
      x_forwarded_for_hop_skips = "1"
      x_forwarded_for_reject_not_present = false
      x_forwarded_for_reject_not_authorized = "false"
      max_request_size = 1048576
      max_request_duration = "2m"
      disable_replication_status_endpoints = true
      require_request_header = true
      custom_response_headers {
        "default" = { "X-A" = ["1", "2"] "Strict-Transport-Security" = ["max-age=1", "includeSubDomains"] }
        "4xx" = { "X-B" = ["3"] }
      }
    }
    listener "tcp" { address = "127.0.0.1:8300" tls_disable = true }
    seal "static" { current_key_id = "2" current_key = "file:///k2" previous_key_id = "1" previous_key = "env://K1" }
    api_addr = "https://vault.example:8200/"
    cluster_addr = "https://10.0.0.1:8201"
    cluster_name = "blue"
    replication {
      resolver_discover_servers = false
      logshipper_buffer_length = 500
      logshipper_buffer_size = "10gib"
      logshipper_buffer_age = "36h"
      allow_forwarding_via_header = true
      best_effort_wal_wait_duration = "500ms"
      allow_forwarding_via_token = "new_token"
      scrub_interval = "90m"
    }
    log_level = "WARN" log_format = "json"
    default_lease_ttl = "1h" max_lease_ttl = "10d"
    disable_mlock = true
    pid_file = "/run/lockstep.pid"
    enable_unauthenticated_access = ["generate-operation-token"]
  `

  test('with everything', async () => {
    const { config, warnings } = await load(full)
    expect(warnings).toEqual([])
    expect(config).toMatchObject({
      storage: { type: 'level', path: '/var/lib/lockstep' },
      listeners: [
        {
          address: '0.0.0.0:8200',
          clusterAddress: '[::1]:9201',
          tls: {
            certFile: '/c.pem',
            keyFile: '/k.pem',
            clientCaFile: '/ca.pem',
            minVersion: 'TLSv1.3',
            requireClientCert: true,
          },
          maxRequestSize: 1_048_576,
          maxRequestDuration: 120_000,
          requireRequestHeader: true,
          disableReplicationStatus: true,
          forwardedFor: {
            authorizedAddrs: ['10.0.0.0/8', '::1'],
            hopSkips: 1,
            rejectNotPresent: false,
            rejectNotAuthorized: false,
          },
          customHeaders: {
            default: { 'X-A': '1, 2', 'Strict-Transport-Security': 'max-age=1; includeSubDomains' },
            '4xx': { 'X-B': '3' },
          },
        },
        { address: '127.0.0.1:8300', tls: undefined },
      ],
      seal: {
        type: 'static',
        name: 'static',
        currentKeyId: '2',
        currentKey: 'file:///k2',
        previousKeyId: '1',
        previousKey: 'env://K1',
      },
      apiAddr: 'https://vault.example:8200',
      clusterAddr: 'https://10.0.0.1:8201',
      clusterName: 'blue',
      replication: {
        resolverDiscoverServers: false,
        logshipperBufferLength: 500,
        logshipperBufferSize: 10 * 2 ** 30,
        logshipperBufferAge: 129_600_000,
        allowForwardingViaHeader: true,
        bestEffortWalWaitDuration: 500,
        allowForwardingViaToken: 'new_token',
        scrubInterval: 5_400_000,
      },
      logLevel: 'warn',
      logFormat: 'json',
      defaultLeaseTtl: 3_600_000,
      maxLeaseTtl: 864_000_000,
      pidFile: '/run/lockstep.pid',
      enableUnauthenticatedAccess: ['generate-operation-token'],
    })
  })

  test('in JSON, as hvac writes it', async () => {
    const text = JSON.stringify({
      backend: { inmem: {} },
      listener: { tcp: { address: '127.0.0.1:8200', tls_disable: true } },
      disable_mlock: true,
      default_lease_ttl: '768h',
      max_lease_ttl: 2764800,
    })
    const { config, warnings } = await loadConfig([await file(text, 'hvac.json')], {})
    expect(warnings).toEqual([])
    expect(config).toMatchObject({ storage: { type: 'inmem' }, maxLeaseTtl: 2_764_800_000 })
  })

  test('from several files and a directory: the last value counts, listeners add up', async () => {
    const folder = join(directory, 'conf.d')
    await mkdir(folder)
    await writeFile(join(folder, '20.hcl'), 'log_level = "debug"')
    await writeFile(join(folder, '10.json'), '{"log_level":"error","cluster_name":"a"}')
    await writeFile(join(folder, 'README.md'), 'not a configuration')
    const { config } = await loadConfig(
      [await file(storage + listener), folder, await file('listener "tcp" { address = ":9000" tls_disable = true }')],
      {},
    )
    expect(config).toMatchObject({ logLevel: 'debug', clusterName: 'a' })
    expect(config.listeners.map(({ address }) => address)).toEqual(['127.0.0.1:8200', '0.0.0.0:9000'])
  })

  test('the environment goes before files, BAO_ before VAULT_', async () => {
    const environment = {
      VAULT_API_ADDR: 'http://v:1',
      BAO_API_ADDR: 'http://b:1',
      VAULT_CLUSTER_ADDR: 'https://c:2',
      VAULT_LOG_LEVEL: 'trace',
    }
    const { config } = await load(`${storage}${listener}api_addr = "http://f:1" log_level = "error"`, environment)
    expect(config).toMatchObject({ apiAddr: 'http://b:1', clusterAddr: 'https://c:2', logLevel: 'trace' })
  })

  test('PostgreSQL', async () => {
    const text = `storage "postgresql" { connection_url = "postgres://a" table = "t" max_parallel = "8" ha_enabled = "true" }\n${listener}`
    const expected = { type: 'postgresql', connectionUrl: 'postgres://a', table: 't', maxParallel: 8, haEnabled: true }
    expect((await load(text)).config.storage).toEqual(expected)
    expect((await load(text, { VAULT_PG_CONNECTION_URL: 'postgres://b' })).config.storage).toMatchObject({
      connectionUrl: 'postgres://b',
    })
  })

  test('etcd', async () => {
    const text = `storage "etcd" { address = "https://a:2379, https://b:2379" path = "/v/" etcd_api = "v3" ha_enabled = "true"
      tls_ca_file = "ca" tls_cert_file = "cert" tls_key_file = "key" username = "u" password = "p"
      lock_ttl = "3s" request_timeout = "7s" lock_timeout = "15s" sync = "true" max_request_size = "2mib" }\n${listener}`
    expect((await load(text)).config.storage).toEqual({
      type: 'etcd',
      endpoints: ['https://a:2379', 'https://b:2379'],
      prefix: '/v/',
      auth: { username: 'u', password: 'p' },
      tls: { caFile: 'ca', certFile: 'cert', keyFile: 'key' },
      requestTimeoutMs: 7000,
      lockTtlMs: 3000,
      maxRequestBytes: 2 * 1024 * 1024,
      haEnabled: true,
    })
    const environment = { ETCD_ADDR: 'http://e:1', ETCD_USERNAME: 'x', ETCD_PASSWORD: 'y', ETCD_HA_ENABLED: '1' }
    expect((await load(`storage "etcd" {}\n${listener}`)).config.storage).toMatchObject({
      endpoints: ['http://localhost:2379'],
      prefix: '/lockstep/',
      auth: undefined,
      haEnabled: false,
    })
    expect((await load(`storage "etcd" {}\n${listener}`, environment)).config.storage).toMatchObject({
      endpoints: ['http://e:1'],
      auth: { username: 'x', password: 'y' },
      haEnabled: true,
    })
  })
})

describe('warnings', () => {
  test('name what is ignored, in blocks too', async () => {
    const path = await file(
      'storage "inmem" { pth = 1 }\nlistener "tcp" { tls_disable = true telemetry { a = 1 } adress = "x" }\nreplication { x = 1 }\nha_storage "raft" {}\ntelemetry {}\nui = true\nlog_requests_level = "x"',
      'warn.hcl',
    )
    const { warnings } = await loadConfig([path], {})
    expect(warnings.map((text) => text.replace(path, 'F')).sort()).toEqual([
      'F: ha_storage is not supported and is ignored',
      'F: listener "tcp": telemetry: unknown key a is ignored',
      'F: listener "tcp": unknown key adress is ignored',
      'F: replication: unknown key x is ignored',
      'F: storage "inmem": unknown key pth is ignored',
      'F: the keys of telemetry have no effect; sys/metrics is always there',
      'F: ui = true is accepted, but this build has no web interface',
      'F: unknown key log_requests_level is ignored',
    ])
  })
})

describe('errors name file, key and expectation', () => {
  test.each([
    [listener, 'no storage is configured'],
    [storage, 'no listener is configured'],
    [
      `storage "raft" { path = "/x" }\n${listener}`,
      `.hcl: storage "raft": unknown storage type; it must be 'level', 'postgresql', 'etcd' or 'inmem'`,
    ],
    [`storage "level" {}\n${listener}`, '.hcl: storage "level": path must be the path of the data directory'],
    [`storage "level" { path = 5 }\n${listener}`, '.hcl: storage "level": path must be a string'],
    [`storage = "level"\n${listener}`, '.hcl: storage must be a block'],
    [`${storage}storage "level" { path = "/x" }\n${listener}`, 'storage is configured more than once'],
    [`storage "postgresql" {}\n${listener}`, 'connection_url must be'],
    [`storage "etcd" { etcd_api = "v2" }\n${listener}`, 'etcd_api must be "v3"'],
    [`storage "etcd" { address = "http://a:2379,https://b:2379" }\n${listener}`, 'address must be URLs'],
    [`storage "etcd" { address = "http://u:p@a:2379" }\n${listener}`, 'address must be URLs'],
    [`storage "etcd" { discovery_srv = "example.com" }\n${listener}`, 'discovery_srv must be left out'],
    [`storage "etcd" { tls_ca_file = "ca.pem" }\n${listener}`, 'address must be https'],
    [`storage "etcd" { username = "u" }\n${listener}`, 'username must be given together'],
    [
      `storage "etcd" { address = "https://a" tls_cert_file = "c" }\n${listener}`,
      'tls_cert_file must be given together',
    ],
    [`storage "etcd" { path = "/" }\n${listener}`, 'path must be a prefix'],
    [`storage "etcd" { lock_ttl = "100ms" }\n${listener}`, 'lock_ttl must be from'],
    [`storage "etcd" { max_request_size = "1kib" }\n${listener}`, 'max_request_size must be at least'],
    [`storage "postgresql" { connection_url = "x" table = "a;b" }\n${listener}`, 'table must be letters'],
    [`${storage}listener "unix" {}`, 'unknown listener type'],
    [
      `${storage}listener "tcp" { address = "nonsense" tls_disable = true }`,
      'listener "tcp": address must be "host:port"',
    ],
    [`${storage}listener "tcp" { address = "a:70000" tls_disable = true }`, 'address must be "host:port"'],
    [`${storage}listener "tcp" {}`, 'tls_cert_file must be a certificate file, unless tls_disable = true'],
    [`${storage}listener "tcp" { tls_disable = "perhaps" }`, 'tls_disable must be true or false'],
    [
      `${storage}listener "tcp" { tls_cert_file = "a" tls_key_file = "b" tls_min_version = "tls10" }`,
      'tls_min_version must be "tls12" or "tls13"',
    ],
    [`${storage}listener "tcp" { tls_disable = true max_request_size = "much" }`, 'max_request_size must be a size'],
    [
      `${storage}listener "tcp" { tls_disable = true max_request_duration = "soon" }`,
      'max_request_duration must be a duration',
    ],
    [
      `${storage}listener "tcp" { tls_disable = true x_forwarded_for_authorized_addrs = ["proxy"] }`,
      'must be a list of IP addresses',
    ],
    [
      `${storage}listener "tcp" { tls_disable = true x_forwarded_for_authorized_addrs = ["10.0.0.0/99"] }`,
      'must be a list of IP addresses',
    ],
    [
      `${storage}listener "tcp" { tls_disable = true custom_response_headers { "default" = { "X-Vault-A" = ["1"] } } }`,
      "the server's own",
    ],
    [
      `${storage}listener "tcp" { tls_disable = true custom_response_headers { "default" = { "X-A" = ["a\\nb"] } } }`,
      'list of strings',
    ],
    [`${storage}listener "tcp" { tls_disable = true custom_response_headers { "teapot" = {} } }`, '"teapot" must be'],
    [
      `${storage}${listener}seal "awskms" {}`,
      `this seal type is not available; it must be 'static', 'transit', 'pkcs11' or 'shamir'`,
    ],
    [`${storage}${listener}seal "static" { current_key_id = "a" }`, 'current_key must be set'],
    [`${storage}${listener}seal "static" { current_key_id = "a" current_key = "k" previous_key = "x" }`, 'go together'],
    [`${storage}${listener}api_addr = "vault:8200"`, 'api_addr must be a URL'],
    [`${storage}${listener}log_level = "loud"`, '.hcl: log_level must be trace, debug, info, warn or error'],
    [`${storage}${listener}log_format = ["json"]`, '.hcl: log_format must be a string'],
    [
      `${storage}${listener}default_lease_ttl = "2h" max_lease_ttl = "1h"`,
      'default_lease_ttl must not exceed max_lease_ttl',
    ],
    [
      `${storage}${listener}replication { logshipper_buffer_length = 0 }`,
      'logshipper_buffer_length must be at least 1',
    ],
    [`${storage}${listener}replication { allow_forwarding_via_token = "x" }`, 'allow_forwarding_via_token must be'],
    [
      `${storage}${listener}replication { logshipper_buffer_size = "0" }`,
      'logshipper_buffer_size must be at least "1mib"',
    ],
    [
      `${storage}${listener}replication { logshipper_buffer_size = "10 bags" }`,
      'logshipper_buffer_size must be a size',
    ],
    [
      `${storage}${listener}replication { logshipper_buffer_length = 1.5 }`,
      'logshipper_buffer_length must be a whole number',
    ],
    [
      `${storage}${listener}replication { resolver_discover_servers = "perhaps" }`,
      'resolver_discover_servers must be true',
    ],
    [
      `${storage}${listener}replication { best_effort_wal_wait_duration = "-1s" }`,
      'best_effort_wal_wait_duration must be',
    ],
    [
      `${storage}${listener}replication { logshipper_buffer_age = "1s" }`,
      'logshipper_buffer_age must be at least "1m"',
    ],
    [`${storage}${listener}replication { scrub_interval = "daily" }`, 'scrub_interval must be a duration'],
    [
      `${storage}${listener}replication { allow_forwarding_via_header = [] }`,
      'allow_forwarding_via_header must be true',
    ],
    [
      `${storage}${listener}enable_unauthenticated_access = ["everything"]`,
      'enable_unauthenticated_access must be a list of',
    ],
    [
      `${storage}${listener}enable_unauthenticated_access = 7`,
      'enable_unauthenticated_access must be a list of strings',
    ],
    [`${storage}${listener}x {`, 'At 3:'],
    [`${storage}${listener}ui = true\nui = false`, "line 4, column 1: attribute 'ui' is set more than once"],
  ])('%s', async (text, expected) => {
    expect(await refusal(text)).toContain(expected)
  })

  test('files that cannot be read', async () => {
    await expect(loadConfig([join(directory, 'absent.hcl')], {})).rejects.toThrow('absent.hcl: cannot be read (ENOENT)')
    const empty = join(directory, 'empty.d')
    await mkdir(empty)
    await expect(loadConfig([empty], {})).rejects.toThrow('empty.d: the directory has no .hcl or .json file')
  })

  test('values are not repeated', async () => {
    const message = await refusal(
      `storage "postgresql" { connection_url = "postgres://u:hunter2@h" max_parallel = "hunter2" }\n${listener}`,
    )
    expect(message).not.toContain('hunter2')
  })
})

test.each([
  ['5', 5],
  ['1kb', 1000],
  ['1KiB', 1024],
  ['2 mb', 2_000_000],
  ['1gib', 2 ** 30],
  ['1tb', 1e12],
  ['', undefined],
  ['-1', undefined],
  ['1pb', undefined],
  ['1.5mb', undefined],
  ['99999999tib', undefined],
])('size %s', (text, bytes) => {
  expect(parseSize(text)).toBe(bytes)
})
