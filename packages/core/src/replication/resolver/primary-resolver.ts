/**
 * Finds the active node of a primary's cluster, again and again: it dials the addresses known, learns others from the stream, and
 * looks elsewhere when the node it is linked to falls silent.
 */
import type { Link } from '@lockstep/replication'
import type { DialOptions } from '@lockstep/replication-transport'
import type { Clock, Log } from '../../contracts.ts'
import { dialPrimary } from '../dial-primary.ts'
import { observedLink } from '../observed-link.ts'
import type { EndCredentials, ReplicationKind } from '../role-records.ts'
import { type AddressBook, type AddressRecord, addressBook } from './address-book.ts'

export interface PrimaryResolverComponents {
  clock: Clock
  log: Log
  onTraffic: NonNullable<DialOptions['onTraffic']>
  /** The addresses known have changed, or which of them answers. */
  onAddresses(record: AddressRecord): void
}

export interface PrimaryResolverInit {
  kind: ReplicationKind
  clusterId: string
  credentials: EndCredentials
  /** Those of the activation, or an operator's. */
  given: readonly string[]
  /** Of earlier lives. */
  stored: AddressRecord | undefined
  /** Dial what the primary tells of, beside what was given. */
  discover: boolean
}

export interface PrimaryResolver extends Pick<AddressBook, 'all' | 'active' | 'movedAt'> {
  /** A link to whichever node leads. Rejects with the reasons of all addresses, or the signal's. */
  dial(signal: AbortSignal): Promise<Link>
  close(): void
}

/** A primary pings every second. */
const SILENT_MS = 3_000
const WATCH_MS = 500
const LOOK_MS = 5_000
/** A link that ends sooner than this may have been cut by a second one to the same node, dialled under another name of its. */
const SHORT_LINK_MS = 10_000
/** A search that was over sooner has dialled nothing beside what it found. */
const SEARCH_MS = 900

interface Found {
  link: Link
  address: string
  /** How long it took, ms. */
  took: number
}

interface Current {
  link: Link
  address: string
  heardAt: number
}

export function primaryResolver(components: PrimaryResolverComponents, init: PrimaryResolverInit): PrimaryResolver {
  const { clock, log, onTraffic, onAddresses } = components
  const { kind, clusterId, credentials, given, stored, discover } = init
  const book = addressBook(given, discover ? stored : undefined)
  const ended = new AbortController()
  let current: Current | undefined
  /** Found while the current link was silent. */
  let spare: Found | undefined
  let looking = false
  let inOrder = false
  /** It let this cluster in, and was none to follow: a stale primary, for instance. Others have their turn first. */
  let useless = ''

  function addresses(): string[] {
    const known = book.dialOrder()
    return known.includes(useless) ? [...known.filter((address) => address !== useless), useless] : known
  }

  function told(addresses: readonly string[]): void {
    const { movedAt } = book
    const before = movedAt()
    if (!discover || !book.tell(addresses, clock.now())) return
    if (movedAt() !== before) log.info('another node of the primary leads', { kind, address: book.active() })
    onAddresses(book.record())
  }

  async function find(addresses: readonly string[], signal: AbortSignal): Promise<Found> {
    const began = performance.now()
    let address = addresses[0]!
    const onAccepted = (accepted: string): void => {
      address = accepted
    }
    // Of whatever link is the current one: only one carries anything.
    const heard: typeof onTraffic = (direction, bytes) => {
      onTraffic(direction, bytes)
      if (direction === 'received' && current?.address === address) current.heardAt = performance.now()
    }
    const link = await dialPrimary(kind, clusterId, addresses, credentials, {
      ...{ signal, inOrder, onAccepted },
      onTraffic: heard,
    })
    return { link, address, took: performance.now() - began }
  }

  /** A node that hangs, or has lost its network, does not say that another leads in its place. */
  async function lookElsewhere(silent: Current): Promise<void> {
    const others = book.dialOrder().filter((address) => address !== silent.address)
    if (looking || others.length === 0) return
    looking = true
    try {
      const found = await find(others, AbortSignal.any([ended.signal, AbortSignal.timeout(LOOK_MS)]))
      if (current !== silent || isHeard(silent)) return found.link.close('the node that was silent speaks again')
      spare = found
      void found.link.closed.then(() => {
        if (spare === found) spare = undefined
      })
      silent.link.close(`nothing is heard from ${silent.address}, and ${found.address} leads`)
    } catch {
      // Nobody else leads, as far as can be told.
    } finally {
      looking = false
    }
  }

  const isHeard = ({ heardAt }: Current): boolean => performance.now() - heardAt < SILENT_MS

  const watching = setInterval(() => {
    if (current !== undefined && !isHeard(current)) void lookElsewhere(current)
  }, WATCH_MS)
  watching.unref()

  return {
    all: book.all,
    active: book.active,
    movedAt: book.movedAt,
    async dial(signal) {
      const { link, address, took } = spare ?? (await find(addresses(), signal))
      spare = undefined
      const since = performance.now()
      const taken: Current = { link, address, heardAt: since }
      current = taken
      let followed = false
      void link.closed.then(() => {
        inOrder = took > SEARCH_MS && performance.now() - since < SHORT_LINK_MS
        if (current === taken) current = undefined
        if (!followed) useless = address
      })
      return observedLink(link, (message) => {
        // Neither comes from who refuses or is refused. Until then its word about addresses does not count either.
        if (!followed && (message.type === 'wal' || message.type === 'roots')) {
          followed = true
          if (useless === address) useless = ''
          if (book.reach(address)) onAddresses(book.record())
        }
        if (followed && message.type === 'ping') told(message.addresses)
      })
    },
    close() {
      ended.abort()
      clearInterval(watching)
      spare?.link.close('the secondary is closing down')
    },
  }
}
