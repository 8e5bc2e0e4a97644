// Rekey and seal migration as operators do them, with the real `bao` command line.
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Cluster, waitFor } from '@lockstep/dev-env'
import { decrypt, generateKey, readMessage } from 'openpgp'
import { describe, expect, test } from 'vitest'
import { scratch } from '../scratch.ts'

const BAO = join(import.meta.dirname, '../../../shared/peer/bao')
const run = promisify(execFile)
const files = scratch()

async function bao(cluster: Cluster, args: string, format = 'table'): Promise<string> {
  const { address, client, directory } = cluster
  const env = { ...process.env, BAO_ADDR: address, BAO_TOKEN: client.token, BAO_FORMAT: format, HOME: directory }
  const { stdout, stderr } = await run(BAO, args.split(' '), { env })
  return format === 'json' ? stdout : stdout + stderr
}
const json = async (cluster: Cluster, args: string) => JSON.parse(await bao(cluster, args, 'json'))

async function holder(name: string) {
  const { privateKey, publicKey } = await generateKey({
    userIDs: [{ name }],
    type: 'rsa',
    rsaBits: 2048,
    format: 'object',
  })
  const file = await files.path(`${name}.asc`)
  await writeFile(file, publicKey.write())
  return {
    file,
    async open(base64: string) {
      const message = await readMessage({ binaryMessage: Buffer.from(base64, 'base64') })
      return (await decrypt({ message, decryptionKeys: privateKey })).data as string
    },
  }
}

async function isOpenedBy(cluster: Cluster, keys: string[], flags = ''): Promise<void> {
  for (const key of keys) await bao(cluster, `operator unseal ${flags}${key}`)
  await waitFor('the server to serve', async () => (await cluster.client.call('GET', 'sys/health')).status === 200)
}

describe.skipIf(!existsSync(BAO))('bao', () => {
  test('operator init and rekey with PGP keys, verification and backup', async () => {
    const people = await Promise.all(['one', 'two'].map(holder))
    const pgpKeys = people.map(({ file }) => file).join(',')
    const cluster = await files.cluster('pgp', { bare: true })
    const made = await json(
      cluster,
      `operator init -key-shares=2 -key-threshold=2 -pgp-keys=${pgpKeys} -root-token-pgp-key=${people[0]!.file}`,
    )
    cluster.client.token = await people[0]!.open(made.root_token)
    const opened = (list: string[]) => Promise.all(list.map((text, index) => people[index]!.open(text)))
    const first = await opened(made.unseal_keys_b64)
    await isOpenedBy(cluster, first)

    const begun = await json(
      cluster,
      `operator rekey -init -key-shares=2 -key-threshold=2 -pgp-keys=${pgpKeys} -backup -verify`,
    )
    expect(begun).toMatchObject({ started: true, n: 2, t: 2, backup: true, verification_required: true })
    expect(await bao(cluster, 'operator rekey -status')).toMatch(/Progress\s+0\/2/)
    await bao(cluster, `operator rekey -nonce=${begun.nonce} ${first[0]}`)
    const rekeyed = await json(cluster, `operator rekey -nonce=${begun.nonce} ${first[1]}`)
    expect(rekeyed).toMatchObject({ complete: true, verification_required: true })
    const second = await opened(rekeyed.keys_base64)
    const { nonce } = await json(cluster, 'operator rekey -status -verify')
    await bao(cluster, `operator rekey -verify -nonce=${nonce} ${second[0]}`)
    const verified = await bao(cluster, `operator rekey -verify -nonce=${nonce} ${second[1]}`)
    expect(verified).toContain('Rekey verification successful')
    const { data } = await json(cluster, 'operator rekey -backup-retrieve')
    // By fingerprint, in whatever order those have.
    const kept = Object.values<string[]>(data.keys_base64 ?? data.KeysB64).flat()
    expect(kept.sort()).toEqual([...rekeyed.keys_base64].sort())
    await bao(cluster, 'operator rekey -backup-delete')
    await expect(bao(cluster, 'operator rekey -backup-retrieve')).rejects.toMatchObject({
      stderr: expect.stringContaining('no backed-up keys found'),
    })

    await cluster.stop()
    await cluster.startSealed()
    await bao(cluster, `operator unseal ${first[0]}`)
    await expect(bao(cluster, `operator unseal ${first[1]}`)).rejects.toMatchObject({
      stderr: expect.stringContaining('unseal failed, invalid key'),
    })
    await isOpenedBy(cluster, second)
    await bao(cluster, 'operator rekey -init -key-shares=1 -key-threshold=1')
    expect(await bao(cluster, 'operator rekey -cancel')).toContain('Canceled rekeying')
    expect((await json(cluster, 'operator rekey -status')).started).toBe(false)

    // The same by OpenBao's paths for callers with a token.
    const { nonce: rotation } = await json(cluster, 'operator rotate-keys -init -key-shares=1 -key-threshold=1')
    await bao(cluster, `operator rotate-keys -nonce=${rotation} ${second[0]}`)
    const third = await json(cluster, `operator rotate-keys -nonce=${rotation} ${second[1]}`)
    await cluster.stop()
    await cluster.startSealed()
    await isOpenedBy(cluster, third.keys)
  })

  test('operator unseal -migrate, and rekey of the recovery keys', async () => {
    const cluster = await files.cluster('migrated', { shares: 3, threshold: 2 })
    const file = join(cluster.directory, 'config.json')
    const former = JSON.parse(await readFile(file, 'utf8'))
    const stanza = { current_key_id: 'a', current_key: randomBytes(32).toString('hex') }
    const reseal = async (seal: object) => {
      await cluster.stop()
      await writeFile(file, JSON.stringify({ ...former, seal }))
      await cluster.startSealed()
    }
    await reseal({ static: stanza })
    const waiting = await bao(cluster, 'status').catch(({ stdout }: { stdout: string }) => stdout)
    expect(waiting).toMatch(/Seal Migration in Progress\s+true/)
    await isOpenedBy(cluster, cluster.keys.slice(0, 2), '-migrate ')
    expect(await json(cluster, 'status')).toMatchObject({ type: 'static', recovery_seal: true, n: 3, t: 2 })

    const { nonce } = await json(cluster, 'operator rekey -target=recovery -init -key-shares=1 -key-threshold=1')
    await bao(cluster, `operator rekey -target=recovery -nonce=${nonce} ${cluster.keys[1]}`)
    const { keys } = await json(cluster, `operator rekey -target=recovery -nonce=${nonce} ${cluster.keys[2]}`)
    expect(keys).toHaveLength(1)

    await reseal({ static: { ...stanza, disabled: 'true' } })
    await isOpenedBy(cluster, keys, '-migrate ')
    await reseal({})
    await isOpenedBy(cluster, keys)
    expect(await json(cluster, 'status')).toMatchObject({ type: 'shamir', recovery_seal: false, n: 1, t: 1 })
  })
})
