/** What version 2 of the protocol finds on a link, seen from the driver, and ends that have no version in common. */
import type { Link, Message, VersionRange } from '@lockstep/replication'
import { memoryEngine } from '@lockstep/storage'
import { afterEach, expect, test } from 'vitest'
import {
  type FollowHandle,
  followPrimary,
  type LoggedStore,
  type SecondaryHandle,
  serveSecondary,
} from '../src/index.ts'
import { bytes, open } from './fixture.ts'
import { linkPair } from './link-pair.ts'

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()))
})

interface Pair {
  primary: LoggedStore
  follower: FollowHandle
  sender(): SecondaryHandle
}

async function pair(
  options: { primary?: VersionRange; secondary?: VersionRange },
  send = (link: Link, message: Message) => link.send(message),
): Promise<Pair> {
  const [primary, secondary] = [await open(memoryEngine()), await open(memoryEngine(), { writable: () => false })]
  await primary.put('secret/a', bytes('1'))
  const view = { id: 'all', ships: () => true, mountPathOf: () => 'secret/' }
  const names = { kind: 'dr', secondaryId: 'two', tickMs: 20 } as const
  let sender: SecondaryHandle | undefined
  const dial = async () => {
    const [theirs, ours] = linkPair()
    const link = { ...theirs, send: (message: Message) => send(theirs, message) }
    const range = options.primary && { protocol: options.primary }
    sender = serveSecondary(
      { store: primary, link, view },
      { ...names, clusterId: 'set', consumer: 'dr/two', ...range },
    )
    return ours
  }
  const follower = followPrimary(
    { store: secondary, dial, accept: () => true },
    {
      ...names,
      positionKey: 'ignored/position',
      backoff: { minMs: 5, maxMs: 20 },
      ...(options.secondary && { protocol: options.secondary }),
    },
  )
  closing.push(async () => {
    await follower.close()
    sender?.close()
  })
  return { primary, follower, sender: () => sender! }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('still not so')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

test('a batch that gets lost is missed, repaired, and still told of after the link was cut', async () => {
  let lose = false
  const { primary, follower, sender } = await pair({}, (link, message) => {
    const lost = lose && message.type === 'wal' && message.groups.length > 0
    if (lost) lose = false
    else link.send(message)
  })
  const level = () => {
    const { state, verified } = follower.status()
    return state === 'stream-wals' && verified?.index === primary.log.head().index
  }
  await until(level)
  const before = primary.log.head().index
  lose = true
  await primary.put('secret/lost', bytes('2'))
  await until(() => !lose)
  await primary.put('secret/next', bytes('3'))
  await until(level)
  const expected = { reason: 'gap', from: before, to: before + 1 }
  expect(follower.status()).toMatchObject({ protocol: 2, streamFaults: 1, lastRepair: expected })
  // A message without entries may have shown the gap before the next write did.
  expect([1, 2]).toContain(follower.status().lastRepair!.keys)
  expect(sender().status()).toMatchObject({ protocol: 2, diffReason: expect.stringMatching('is missing') })

  const first = sender()
  first.close('cut')
  await until(() => sender() !== first && level())
  expect(follower.status()).toMatchObject({ rounds: 0, streamFaults: 1, lastRepair: expected })
})

test.each([
  [{ primary: { min: 1, max: 1 } }, 1],
  [{ secondary: { min: 1, max: 1 } }, 1],
  [{}, 2],
])('the highest version in common: %j speak %i', async (options, version) => {
  const { primary, follower } = await pair(options)
  await primary.put('secret/b', bytes('2'))
  await until(() => follower.status().verified?.index === primary.log.head().index)
  expect(follower.status().protocol).toBe(version)
})

test.each([
  [2, 1, 'the primary speaks protocol 2 to 2, the secondary 1 to 1: upgrade the secondary'],
  [1, 2, 'the primary speaks protocol 1 to 1, the secondary 2 to 2: upgrade the primary'],
])('a primary of version %i and a secondary of version %i are both told: %s', async (ours, theirs, sentence) => {
  const { follower, sender } = await pair({
    primary: { min: ours, max: ours },
    secondary: { min: theirs, max: theirs },
  })
  await until(() => follower.status().lastError !== '')
  expect(follower.status().lastError).toBe(`the primary refused (version): ${sentence}`)
  await expect(sender().ended).resolves.toBe(sentence)
})
