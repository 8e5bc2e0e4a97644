// The seal matrix of the specification, with every seal on either end: which keys unseal and recover a cluster before it becomes a
// secondary, and which do, and do not, afterwards. `docs/guides/seals.md` shows what this saw; LOCKSTEP_WRITE_DOCS=1 writes it there.
// LOCKSTEP_SEAL_MATRIX=all: every pair for disaster recovery too, instead of one for each row.
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type Cluster,
  enablePrimary,
  linkSecondary,
  promoteSecondary,
  type ReplicationKind,
  waitUntilInSync,
} from '@lockstep/dev-env'
import { beforeAll, describe, expect, test } from 'vitest'
import { generateOperationToken, generateRoot, INVALID_SHARES, isRoot, restartAlone, unseals } from './operator-keys.ts'
import { addOperator, login, scratch } from './scratch.ts'
import { SEALS, type SealName, sealProviders } from './seal-providers.ts'

const GUIDE = join(import.meta.dirname, '../docs/guides/seals.md')
const files = scratch()
const providers = sealProviders(files)
const everyPair = process.env.LOCKSTEP_SEAL_MATRIX === 'all'
/** One of each row of the specification, and every auto seal at least once. */
const DR_PAIRS = ['shamir shamir', 'shamir transit', 'pkcs11 static', 'transit shamir']

type Candidate = [name: string, keys: readonly string[]]

/** Observed cells by "primary secondary". */
const observed = new Map<string, string[]>()
const HEADER = [
  ...['primary', 'secondary', 'unsealed before by', 'recovered before by', 'unsealed after by', 'recovered after by'],
  'refused after',
]

async function start(name: string, seal: SealName, shares: number, threshold: number): Promise<Cluster> {
  return files.cluster(name, { shares, threshold, ...(await providers.options(seal, name)) })
}

const kindOfKeys = (seal: SealName): string => (seal === 'shamir' ? 'unseal keys' : 'recovery keys')

/**
 * Seals the cluster, by request when there is a root token, and an auto-sealed one by restarting it. Tries the candidates in order, and says
 * what opened it. Nothing that is refused may have helped.
 */
async function whatUnseals(cluster: Cluster, root: string | undefined, candidates: Candidate[]): Promise<string> {
  const { client } = cluster
  const { type } = (await client.read('sys/seal-status')).body
  if (root !== undefined) {
    await client.write('sys/seal', {}, { token: root })
    expect((await client.read('sys/seal-status')).body).toMatchObject({ type, sealed: true })
  }
  if (type !== 'shamir') {
    // It takes no shares.
    if (root !== undefined) {
      const share = await client.call('PUT', 'sys/unseal', { key: candidates[0]![1][0] })
      expect(share.body.errors).toEqual([expect.stringContaining(`sealed by ${type}`)])
    }
    await restartAlone(cluster)
    await cluster.unseal()
    return `${type}, by itself`
  }
  if (root === undefined) await restartAlone(cluster)
  for (const [name, keys] of candidates) {
    if (!(await unseals(cluster, keys))) continue
    await cluster.unseal()
    return name
  }
  return 'nothing'
}

/** The candidates that make a token, and those that are refused. */
async function whatRecovers(
  make: (keys: readonly string[]) => Promise<unknown>,
  candidates: Candidate[],
): Promise<{ accepted: string[]; refused: string[] }> {
  const accepted: string[] = []
  const refused: string[] = []
  for (const [name, keys] of candidates) {
    const error = await make(keys).then(
      () => undefined,
      (reason: Error) => reason,
    )
    if (error !== undefined) expect(error.message).toMatch(INVALID_SHARES)
    ;(error === undefined ? accepted : refused).push(name)
  }
  return { accepted, refused }
}

describe.each(SEALS)('a primary sealed by %s', (primarySeal) => {
  let primary: Cluster
  beforeAll(async () => {
    primary = await start(`p-${primarySeal}`, primarySeal, 3, 2)
    await addOperator(primary)
    await primary.client.write('sys/mounts/kv', { type: 'kv' })
    await primary.client.write('kv/a', { from: 'primary' })
    await enablePrimary(primary, 'performance')
    await enablePrimary(primary, 'dr')
  })

  const pairs = SEALS.flatMap((secondarySeal): [SealName, ReplicationKind][] => {
    const dr = everyPair || DR_PAIRS.includes(`${primarySeal} ${secondarySeal}`)
    return [[secondarySeal, 'performance'], ...(dr ? [[secondarySeal, 'dr'] as [SealName, ReplicationKind]] : [])]
  })

  test.each(pairs)(
    'and a secondary sealed by %s, %s replication',
    async (secondarySeal, kind) => {
      const name = `${primarySeal}-${secondarySeal}-${kind}`
      const secondary = await start(name, secondarySeal, 5, 3)
      const own = [...secondary.keys]
      const [ownName, primaryName] = [
        `its own ${kindOfKeys(secondarySeal)} (3 of 5)`,
        `the primary's ${kindOfKeys(primarySeal)} (2 of 3)`,
      ]

      const ownFirst: Candidate[] = [
        [ownName, own],
        [primaryName, primary.keys],
      ]
      const primaryFirst = ownFirst.toReversed()

      // Before.
      const unsealedBefore = await whatUnseals(secondary, secondary.client.token, primaryFirst)
      const before = await whatRecovers(
        async (keys) => isRoot(secondary, await generateRoot(secondary, keys)),
        primaryFirst,
      )
      expect(before).toEqual({ accepted: [ownName], refused: [primaryName] })

      await linkSecondary(primary, secondary, kind, name)
      await waitUntilInSync(primary, secondary, kind)

      // After: the seal's type is its own, the counts are the primary's.
      expect((await secondary.client.read('sys/seal-status')).body).toMatchObject({
        ...{ type: secondarySeal, t: 2, n: 3, sealed: false },
        recovery_seal: secondarySeal !== 'shamir',
      })
      const recover = kind === 'dr' ? generateOperationToken : generateRoot
      const after = await whatRecovers((keys) => recover(secondary, keys), ownFirst)
      const root = kind === 'dr' ? undefined : await generateRoot(secondary, primary.keys)
      const unsealedAfter = await whatUnseals(secondary, root, ownFirst)
      expect(await whatRecovers((keys) => recover(secondary, keys), ownFirst)).toEqual(after)
      const cells = [unsealedBefore, before.accepted.join(), unsealedAfter, after.accepted.join(), after.refused.join()]
      const pair = `${primarySeal} ${secondarySeal}`
      // The rule is one for both kinds of replication.
      expect(cells).toEqual(observed.get(pair) ?? cells)
      observed.set(pair, cells)

      // It goes on replicating, and the primary keeps what it had.
      await waitUntilInSync(primary, secondary, kind)
      if (kind === 'performance') {
        await login(secondary)
        expect((await secondary.client.read('kv/a')).body.data).toEqual({ from: 'primary' })
      } else {
        expect((await secondary.client.call('GET', 'sys/health')).status).toBe(472)
        // A promotion changes nothing about seals: its own seal, the primary's keys.
        await promoteSecondary(secondary, 'dr', { force: true })
        await expect(generateRoot(secondary, own)).rejects.toThrow(INVALID_SHARES)
        secondary.client.token = await generateRoot(secondary, primary.keys)
        await secondary.stop()
        await secondary.start()
        expect((await secondary.client.read('kv/a')).body.data).toEqual({ from: 'primary' })
        expect((await secondary.client.read('sys/seal-status')).body).toMatchObject({ type: secondarySeal, t: 2, n: 3 })
      }
      await isRoot(primary, await generateRoot(primary, primary.keys))
      await secondary.stop()
    },
    300_000,
  )
})

test('the guide shows this table', async () => {
  expect(observed.size).toBe(SEALS.length ** 2)
  const rows = [HEADER, ...[...observed].map(([pair, cells]) => [...pair.split(' '), ...cells])]
  const widths = HEADER.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const line = (row: string[]): string => `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`
  const [head, ...body] = rows.map(line)
  const table = [head, `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...body].join('\n')
  const guide = await readFile(GUIDE, 'utf8')
  const marked = /(<!-- seal matrix -->\n\n)[\s\S]*?(\n\n<!-- \/seal matrix -->)/
  expect(guide).toMatch(marked)
  if (process.env.LOCKSTEP_WRITE_DOCS === '1') await writeFile(GUIDE, guide.replace(marked, `$1${table}$2`))
  expect(await readFile(GUIDE, 'utf8')).toContain(table)
})
