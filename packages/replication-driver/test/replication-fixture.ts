import {
  CLASSES_OF_KIND,
  type LinkKind,
  type Message,
  type Partition,
  type Plain,
  parsePartitionId,
  type WalOperation,
} from '@lockstep/replication'
import type { LoggedStore } from '../src/index.ts'
import { type FollowHandle, followPrimary, type SecondaryHandle, serveSecondary } from '../src/index.ts'
import { linkPair } from './link-pair.ts'

const clock = { now: () => Date.now() }
const report = () => ({ canary: 1, addresses: ['127.0.0.1:8201'], apiAddress: 'http://127.0.0.1:8200' })

export interface Replication {
  readonly follower: FollowHandle
  /** The primary's end of the newest link. */
  sender(): SecondaryHandle
  /** Mount paths that are withheld. */
  filter(denied: readonly string[]): void
  /** Links made so far. */
  links(): number
  cut(): void
  /** Whom the next dial reaches. */
  follow(primary: LoggedStore, leader?: string): void
  /** What the primary has sent, by message type. */
  readonly sent: Map<string, number>
  settled(): Promise<void>
  close(): Promise<void>
}

export interface ReplicationSetup {
  primary: LoggedStore
  secondary: LoggedStore
  leader?: string
  kind: LinkKind
  accept?: (entry: WalOperation) => true | string
  onRequest?: (method: string, body: Plain) => Promise<Plain>
}

export function replicate(setup: ReplicationSetup): Replication {
  const { secondary, kind } = setup
  let { primary, leader } = setup
  let denied: readonly string[] = []
  let version = 0
  let links = 0
  let sender: SecondaryHandle | undefined
  const sent = new Map<string, number>()
  const view = {
    get id() {
      return `${kind} ${version}`
    },
    ships: (_partition: Partition, mountPath: string) => !denied.includes(mountPath),
    mountPathOf: (mount: string) => (mount === 'core' ? '' : `${mount}/`),
  }
  const onRequest = setup.onRequest ?? (() => Promise.reject(new Error('not served')))
  const count = (message: Message) => sent.set(message.type, (sent.get(message.type) ?? 0) + 1)

  const dial = async () => {
    const [primaryEnd, secondaryEnd] = linkPair()
    links++
    const link = {
      ...primaryEnd,
      send(message: Message) {
        count(message)
        primaryEnd.send(message)
      },
    }
    sender = serveSecondary(
      { store: primary, link, view, clock, onRequest },
      { kind, clusterId: 'set', leader, secondaryId: 'two', consumer: `${kind}/two`, report, tickMs: 20 },
    )
    return secondaryEnd
  }
  const follower = followPrimary(
    { store: secondary, dial, clock, accept: setup.accept ?? (() => true), report, onRequest },
    { kind, secondaryId: 'two', positionKey: 'ignored/position', tickMs: 20, backoff: { minMs: 5, maxMs: 20 } },
  )

  const shipped = (id: string) => {
    const partition = parsePartitionId(id)!
    return inScope(id) && view.ships(partition, view.mountPathOf(partition.mount))
  }
  const inScope = (id: string) => CLASSES_OF_KIND[kind].some((name) => id.startsWith(`${name}/`))

  return {
    follower,
    sender: () => sender!,
    links: () => links,
    sent,
    filter(paths) {
      denied = paths
      version++
      sender?.viewChanged()
    },
    cut: () => sender?.close('cut'),
    follow(next, nextLeader) {
      primary = next
      leader = nextLeader
      sender?.close('another primary')
    },
    async settled() {
      const deadline = Date.now() + 60_000
      for (;;) {
        const { state, verified, position, lastError } = follower.status()
        const head = primary.log.head().index
        const level = state === 'stream-wals' && position.cursor?.index === head && verified?.index === head
        const theirs = primary.forest.composedRoot(shipped)
        if (level && Buffer.compare(theirs, secondary.forest.composedRoot(inScope)) === 0) return
        if (Date.now() > deadline) throw new Error(`not settled: ${state} ${lastError}`)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    },
    async close() {
      await follower.close()
      sender?.close()
    },
  }
}
