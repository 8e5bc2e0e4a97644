import { EventEmitter, once } from 'node:events'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as dial } from 'node:tls'
import { createReplicationCa, issuePrimaryServer } from '@lockstep/bootstrap'
import { StorageError } from '@lockstep/storage'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { parseCommand } from '../src/cli/arguments.ts'
import { run } from '../src/cli/run.ts'
import type { Surroundings } from '../src/cli/server-command.ts'
import { send } from './client.ts'
import { type FakeCore, fakeCore } from './fake-core.ts'

let home: string
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'lockstep-cli-'))
})
afterAll(() => rm(home, { recursive: true }))

let core: FakeCore
beforeEach(() => {
  core = fakeCore()
})

/** A command line running in this process, until a signal is emitted. */
function start(argv: string[], change: Partial<Surroundings> = {}) {
  const signals = new EventEmitter()
  let [stdout, stderr] = ['', '']
  const seen = new EventEmitter()
  const around: Surroundings = {
    environment: {},
    home,
    stdout: (text) => {
      stdout += text
      seen.emit('text')
    },
    stderr: (text) => {
      stderr += text
    },
    signals,
    buildCore: async () => core,
    ...change,
  }
  const code = run(argv, around)
  return {
    code,
    signals,
    get stdout() {
      return stdout
    },
    get stderr() {
      return stderr
    },
    async until(pattern: RegExp): Promise<string> {
      for (;;) {
        const match = pattern.exec(stdout)
        if (match !== null) return match[1] ?? match[0]
        await Promise.race([once(seen, 'text'), code.then(() => Promise.reject(new Error(`ended: ${stderr}`)))])
      }
    },
  }
}

async function config(text: string, name = 'c.hcl'): Promise<string> {
  const file = join(home, name)
  await writeFile(file, text)
  return `-config=${file}`
}
const plain = 'storage "inmem" {}\nlistener "tcp" { address = "127.0.0.1:0" tls_disable = true }\nlog_level = "error"\n'

describe('the command line', () => {
  test('version and help', async () => {
    for (const argv of [['version'], ['-version'], ['--version']]) {
      const run = start(argv)
      expect(await run.code).toBe(0)
      expect(run.stdout).toMatch(/^Lockstep v\d+\.\d+\.\d+ \(Vault API \d+\.\d+\.\d+\)\n$/)
    }
    for (const argv of [['--help'], ['-h'], ['help'], ['server', '-help']]) {
      const run = start(argv)
      expect(await run.code).toBe(0)
      expect(run.stdout).toMatch(/^Usage: lockstep/)
    }
  })

  test.each([
    [[]],
    [['serve']],
    [['server']],
    [['server', '-nonsense', '-dev']],
    [['server', 'x']],
    [['server', '-config']],
    [['server', '-dev=maybe']],
  ])('%j gives usage and 1', async (argv) => {
    const run = start(argv)
    expect(await run.code).toBe(1)
    expect(run.stderr).toMatch(/^lockstep: .+\n\nUsage: lockstep/)
  })

  test('Go-style flags', () => {
    const flags = (...argv: string[]) => {
      const command = parseCommand(['server', ...argv])
      if (command.name !== 'server') throw new Error(JSON.stringify(command))
      return command.flags
    }
    expect(flags('-config=a', '--config', 'b', '-config', 'c').config).toEqual(['a', 'b', 'c'])
    expect(flags('-dev=true', '-dev-no-store-token', '-dev-root-token-id=r=1', '-log-level', 'debug')).toMatchObject({
      dev: true,
      devNoStoreToken: true,
      devRootTokenId: 'r=1',
      logLevel: 'debug',
    })
    expect(flags('-dev', '-dev-no-store-token=false').devNoStoreToken).toBe(false)
  })
})

describe('server', () => {
  test('says what it runs with, serves, and stops on a signal', async () => {
    const pidFile = join(home, 'pid')
    const run = start(['server', await config(`${plain}pid_file = "${pidFile}"`)])
    const port = Number(await run.until(/Listener 1: tcp \(addr: "127\.0\.0\.1:(\d+)"/))
    expect(run.stdout).toMatch(
      /^==> Lockstep server configuration:\n[\s\S]*Storage: inmem\n[\s\S]*==> Lockstep server started!/,
    )
    expect((await send(port, '/v1/sys/health')).status).toBe(200)
    expect(await readFile(pidFile, 'utf8')).toBe(`${process.pid}\n`)
    run.signals.emit('SIGTERM')
    expect(await run.code).toBe(0)
    expect(core.closed).toBe(true)
    await expect(send(port, '/v1/sys/health')).rejects.toThrow()
    await expect(stat(pidFile)).rejects.toThrow()
  })

  test('dev mode', async () => {
    let initialized = false
    Object.assign(core, { initialized: async () => initialized })
    core.initialize = async (params) => {
      initialized = true
      core.calls.push(['initialize', params])
      return { keys: ['aa'], keys_base64: ['qg=='], root_token: 'hvs.first' }
    }
    core.sealStatus = async () => ({ sealed: true })
    const environment = {
      VAULT_DEV_ROOT_TOKEN_ID: 'root',
      VAULT_DEV_LISTEN_ADDRESS: '127.0.0.1:0',
      VAULT_LOG_LEVEL: 'error',
    }
    const run = start(['server', '-dev'], { environment })
    const address = await run.until(/export VAULT_ADDR='http:\/\/(127\.0\.0\.1:\d+)'/)
    expect(run.stdout).toContain('Unseal Key: qg==\nRoot Token: root\n')
    expect((await send(Number(address.split(':')[1]), '/v1/sys/seal-status')).status).toBe(200)
    expect(core.calls.slice(0, 2)).toEqual([
      ['initialize', { secret_shares: 1, secret_threshold: 1, recovery_shares: 1, recovery_threshold: 1 }],
      ['unseal', { key: 'aa' }],
    ])
    expect(core.requests.map(({ path, clientToken, data }) => [path, clientToken, data.id ?? data.type])).toEqual([
      ['auth/token/create', 'hvs.first', 'root'],
      ['auth/token/revoke-self', 'hvs.first', undefined],
      ['sys/mounts/secret', 'root', 'kv'],
    ])
    const stored = join(home, '.vault-token')
    expect(await readFile(stored, 'utf8')).toBe('root')
    expect((await stat(stored)).mode & 0o777).toBe(0o600)
    run.signals.emit('SIGINT')
    expect(await run.code).toBe(0)
  })

  test('dev mode refuses storage in use, and closes what it opened', async () => {
    const run = start(['server', '-dev', '-dev-listen-address=127.0.0.1:0', '-log-level=error'])
    expect(await run.code).toBe(1)
    expect(run.stderr).toBe('lockstep: -dev needs empty storage, and this one is initialized already\n')
    expect(core.closed).toBe(true)
  })
})

describe('one clear line and exit code 1 when', () => {
  const failing = async (argv: string[], change: Partial<Surroundings> = {}) => {
    const run = start(argv, change)
    expect(await run.code).toBe(1)
    expect(run.stderr.trimEnd().split('\n').length).toBe(1)
    return run.stderr
  }

  test('the file is absent, the storage unknown or a flag wrong', async () => {
    expect(await failing(['server', '-config=/absent.hcl'])).toBe('lockstep: /absent.hcl: cannot be read (ENOENT)\n')
    expect(await failing(['server', await config('storage "consul" {}')])).toContain('unknown storage type')
    expect(await failing(['server', await config(plain), '-log-level=loud'])).toContain('-log-level must be')
    expect(await failing(['server', '-dev', '-dev-listen-address=here'])).toContain('must be "host:port"')
  })

  test('the port is in use; the core is closed again', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as { port: number }
    const text = await failing(['server', await config(plain.replace(':0', `:${port}`))])
    expect(text).toBe(`lockstep: listener "tcp" 127.0.0.1:${port}: address already in use\n`)
    expect(core.closed).toBe(true)
    other.close()
  })

  test.each([
    ['STORAGE_LOCKED', 'the data directory is in use by another process'],
    ['STORAGE_NEWER_FORMAT', 'the data was written by a newer version of this server'],
  ] as const)('the storage says %s', async (code, words) => {
    const buildCore = () => Promise.reject(new StorageError(code, 'detail\nsecond line'))
    const text = await failing(['server', await config(plain)], { buildCore })
    expect(text).toBe(`lockstep: storage "inmem": ${words} (detail)\n`)
  })

  test('TLS files are absent, no certificates, or do not belong together', async () => {
    const now = Date.now()
    const ca = await createReplicationCa({ clusterId: 'c', now })
    const other = await createReplicationCa({ clusterId: 'd', now })
    const write = async (name: string, text: string) => {
      await writeFile(join(home, name), text)
      return join(home, name)
    }
    const cert = await write('cert.pem', ca.certificatePem)
    const key = await write('key.pem', other.privateKeyPem)
    const bad = await write('bad.pem', 'not a certificate')
    const tls = async (certFile: string, keyFile: string) =>
      failing([
        'server',
        await config(
          `storage "inmem" {}\nlistener "tcp" { tls_cert_file = "${certFile}" tls_key_file = "${keyFile}" }`,
        ),
      ])
    expect(await tls(`${home}/none.pem`, key)).toContain('none.pem: no such file or directory')
    expect(await tls(bad, key)).toContain('bad.pem: is not a PEM certificate')
    expect(await tls(cert, bad)).toContain('bad.pem: is not an unencrypted PEM private key')
    expect(await tls(cert, key)).toContain('does not belong to tls_cert_file')
  })

  test('the pid file cannot be written', async () => {
    expect(await failing(['server', await config(`${plain}pid_file = "/absent/pid"`)])).toContain(
      'pid_file /absent/pid: no such file',
    )
    expect(core.closed).toBe(true)
  })
})

test('SIGHUP takes up a new certificate and tells the core; a bad one changes nothing', async () => {
  const now = Date.now()
  const install = async (clusterId: string) => {
    const ca = await createReplicationCa({ clusterId, now })
    const server = await issuePrimaryServer(ca, { now })
    await writeFile(join(home, 'tls-cert.pem'), server.certificatePem)
    await writeFile(join(home, 'tls-key.pem'), server.privateKeyPem)
  }
  await install('one')
  const text = `storage "inmem" {}\nlog_level = "error"\nlistener "tcp" { address = "127.0.0.1:0" tls_cert_file = "${home}/tls-cert.pem" tls_key_file = "${home}/tls-key.pem" }`
  const run = start(['server', await config(text, 'tls.hcl')])
  const port = Number(await run.until(/Listener 1: tcp \(addr: "127\.0\.0\.1:(\d+)"/))
  const servedName = () =>
    new Promise<string>((resolve, reject) => {
      const socket = dial({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
        resolve(String(socket.getPeerCertificate().subject.CN))
        socket.destroy()
      })
      socket.on('error', reject)
    })
  const reloaded = async (times: number) => {
    run.signals.emit('SIGHUP')
    while (core.reloads < times) await new Promise((wait) => setTimeout(wait, 10))
  }
  expect(await servedName()).toBe('one.replication.lockstep')
  await install('two')
  await reloaded(1)
  expect(await servedName()).toBe('two.replication.lockstep')
  await writeFile(join(home, 'tls-cert.pem'), 'broken')
  await reloaded(2)
  expect(await servedName()).toBe('two.replication.lockstep')
  run.signals.emit('SIGTERM')
  expect(await run.code).toBe(0)
})
