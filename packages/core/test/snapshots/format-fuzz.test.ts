// The decoders of a snapshot against what nobody would have written: refused by name, never a crash, never memory for the asking.
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { pack } from 'tar-stream'
import { expect, test } from 'vitest'
import { readArchive, writeArchive } from '../../src/snapshots/archive.ts'
import { decodeMeta, encodeMeta } from '../../src/snapshots/meta.ts'
import { decodeState, encodeState, type Row } from '../../src/snapshots/state-codec.ts'

async function* cut(bytes: Uint8Array, at: readonly number[]): AsyncGenerator<Uint8Array> {
  let from = 0
  for (const end of [...new Set(at.map((n) => n % (bytes.length + 1)))].sort((a, b) => a - b)) {
    yield bytes.subarray(from, end)
    from = end
  }
  yield bytes.subarray(from)
}
const encoded = async (rows: readonly Row[]): Promise<Buffer> =>
  Buffer.concat(await Readable.from(encodeState(entries(rows))).toArray())
async function* entries(rows: readonly Row[]) {
  for (const { name, value } of rows) yield [name, value] as const
}
async function decoded(bytes: Uint8Array, cuts: readonly number[] = []): Promise<Row[]> {
  const rows: Row[] = []
  for await (const batch of decodeState(cut(bytes, cuts))) rows.push(...batch)
  return rows
}
const rowsOf = fc
  .uniqueArray(fc.tuple(fc.string({ minLength: 1, unit: 'binary' }), fc.uint8Array({ maxLength: 300 })), {
    selector: ([name]) => name,
    maxLength: 40,
  })
  .map((pairs) =>
    pairs
      .map(([name, value]) => ({ name, value }))
      .sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name))),
  )

test('rows come back as they were, wherever the bytes are cut', async () => {
  await fc.assert(
    fc.asyncProperty(rowsOf, fc.array(fc.nat(5000)), async (rows, cuts) => {
      const back = await decoded(await encoded(rows), cuts)
      expect(back.map(({ name, value }) => [name, Buffer.from(value).toString('hex')])).toEqual(
        rows.map(({ name, value }) => [name, Buffer.from(value).toString('hex')]),
      )
    }),
    { numRuns: 200 },
  )
})

test('a state cut short, changed or made up is refused or harmless', async () => {
  await fc.assert(
    fc.asyncProperty(
      rowsOf,
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      fc.boolean(),
      async (rows, place, change, short) => {
        const bytes = Buffer.from(await encoded(rows))
        const at = place % bytes.length
        if (!short) bytes[at]! ^= change
        const outcome = await decoded(short ? bytes.subarray(0, at) : bytes).catch((error: Error) => error)
        if (outcome instanceof Error) expect(outcome.message).toMatch(/^state\.bin is malformed: /)
        else expect(short).toBe(false)
      },
    ),
    { numRuns: 500 },
  )
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 500 }), async (junk) => {
      await expect(decoded(Buffer.concat([Buffer.from('LSSTATE\x01'), junk, Buffer.from([0xff])]))).rejects.toThrow(
        'state.bin is malformed',
      )
    }),
    { numRuns: 300 },
  )
})

test('lengths that nothing follows take no memory', async () => {
  const row = Buffer.alloc(8)
  row.writeUInt32BE(1, 0)
  row.writeUInt32BE(31 * 1024 * 1024, 4)
  const bytes = Buffer.concat([Buffer.from('LSSTATE\x01'), row.subarray(0, 4), row.subarray(4), Buffer.from('x')])
  await expect(decoded(bytes)).rejects.toThrow('it ends early')
  row.writeUInt32BE(0xffff_ffff, 4)
  await expect(decoded(Buffer.concat([Buffer.from('LSSTATE\x01'), row]))).rejects.toThrow('a value of 4294967295 bytes')
})

const META = encodeMeta(
  { clusterId: 'c', clusterName: 'n', sealType: 'shamir', takenAt: 1_700_000_000_000, epoch: 1, index: 2 },
  3,
)
async function archive(state: Buffer): Promise<Buffer> {
  const digest = createHash('sha256').update(state).digest('hex')
  const parts = {
    meta: META,
    state: { size: state.length, digest, read: () => Readable.from([state]) },
    seal: async () => Buffer.from('sealed'),
  }
  return Buffer.concat(await writeArchive(parts, new Date(0)).toArray())
}
async function read(bytes: Uint8Array, maxBytes = 10_000_000): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let told: Uint8Array | undefined
  await readArchive(cut(bytes, [1000, 2000, 3000]), {
    maxBytes,
    meta(meta) {
      told = meta
    },
    async state(source) {
      for await (const chunk of source) chunks.push(chunk)
    },
  })
  // Before the end nothing is known to be what it was.
  expect(told).toEqual(META)
  return Buffer.concat(chunks)
}

test('an archive comes back as it was; one with any byte of its content changed, added or missing is refused', async () => {
  const state = Buffer.from(Array.from({ length: 70_000 }, (_, n) => (n * 7919) >> 3))
  const whole = await archive(state)
  expect((await read(whole)).equals(state)).toBe(true)
  const tar = gunzipSync(whole)
  await fc.assert(
    fc.asyncProperty(fc.nat(tar.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(2), async (at, change, kind) => {
      const changed = Buffer.from(tar)
      changed[at]! ^= change
      const bytes = gzipSync(kind === 0 ? changed : kind === 1 ? tar.subarray(0, at) : tar)
      const outcome = await read(kind === 2 ? bytes.subarray(0, at % bytes.length) : bytes).catch(
        (error: Error) => error,
      )
      // Padding, owners and the end of a tar say nothing.
      if (outcome instanceof Error) expect(outcome.name).toBe('SnapshotError')
      else expect(outcome.equals(state)).toBe(true)
    }),
    { numRuns: 300 },
  )
  await expect(read(whole, 60_000)).rejects.toThrow('larger than 60000 bytes')
})

test('other files, other orders, names longer than any of ours: refused without being read into memory', async () => {
  const made = async (files: [string, Buffer][]): Promise<Buffer> => {
    const tar = pack()
    for (const [name, content] of files) tar.entry({ name }, content)
    tar.finalize()
    return gzipSync(Buffer.concat(await Readable.from(tar).toArray()))
  }
  await expect(read(await made([]))).rejects.toThrow('ends before meta.json')
  await expect(read(await made([['evil', Buffer.alloc(3)]]))).rejects.toThrow(
    'holds "evil" where meta.json was expected',
  )
  await expect(read(await made([['state.bin', Buffer.alloc(3)]]))).rejects.toThrow('where meta.json was expected')
  await expect(read(await made([['meta.json', Buffer.alloc(100_000)]]))).rejects.toThrow('larger than 65536 bytes')
  await expect(read(await made([[`${'x'.repeat(5_000_000)}/meta.json`, Buffer.alloc(1)]]))).rejects.toThrow(
    'not an archive of the expected form',
  )
})

test('meta.json is read field by field', () => {
  expect(decodeMeta(META)).toMatchObject({ clusterId: 'c', epoch: 1, index: 2 })
  fc.assert(
    fc.property(fc.json(), (text) => {
      expect(() => decodeMeta(Buffer.from(text))).toThrow(/snapshot/)
    }),
  )
  const raft = JSON.stringify({ Version: 1, ID: '1-2-3', Index: 1, Term: 1, Size: 3 })
  expect(() => decodeMeta(Buffer.from(raft))).toThrow('snapshots of other servers hold another storage format')
})
