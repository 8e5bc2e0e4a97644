/**
 * Read your writes, over all clusters of a replication set: answers name the state they were given in, and a request that names
 * one is not answered from an older state. A state of before a promotion is taken as there: what was lost then never comes.
 */
import { CoreError, type LogPlace } from '../contracts.ts'
import { consistencyDirectives } from './directives.ts'
import { comparePlaces, decodeIndexHeader, encodeIndexState, type IndexState } from './index-state.ts'

/** The primary's log as a performance secondary follows it. */
export interface Followed {
  /** What is applied here; undefined while it matches no place (before and during a Merkle sync). */
  place(): LogPlace | undefined
  /** Resolves true once the primary's log is applied up to `index`, false after `timeoutMs`. */
  applied(index: number, timeoutMs: number): Promise<boolean>
}

export interface ConsistencyComponents {
  clusterId: string
  logId: string
  /** `setName` of the performance replication set; "" without. */
  set: string
  key(): Uint8Array | undefined
  /** Of this cluster's own log. */
  head(): LogPlace
  /** Only on a performance secondary. */
  followed?: Followed
  /** Resolves when the modules have followed what was applied so far; undefined when they have. */
  settled(): Promise<void> | undefined
}

export interface ConsistencyOptions {
  /** Longest wait for a state. Vault's best_effort_wal_wait_duration. */
  waitMs: number
  /** Vault's allow_forwarding_via_header. Default false. */
  allowForwardingViaHeader?: boolean
}

export interface Consistency {
  /**
   * Whether the state that a request's headers ask for is here. Waits for it; resolves false when it did not come and the request may be
   * forwarded to the primary. Rejects with CORE_INDEX_NOT_PRESENT when that cannot help either or is not wished, and throws
   * CORE_INVALID_REQUEST for headers that are malformed, forged or switched off.
   */
  present(headers: Readonly<Record<string, string>>): true | Promise<boolean>
  /** On the primary, for a request that a secondary forwarded. Throws CORE_INDEX_NOT_PRESENT when the state is not here either. */
  assertHere(headers: Readonly<Record<string, string>>): void
  /** `X-Vault-Index` of an answer given now; `reached` is where the primary was when it answered in this cluster's place. */
  index(reached?: LogPlace): string | undefined
  settled(): Promise<void> | undefined
  /** Of this cluster's own log. */
  head(): LogPlace
}

export function notPresent(cause?: unknown): CoreError {
  return new CoreError('CORE_INDEX_NOT_PRESENT', 'required index state not present', { cause })
}

/** Of a log that is followed: wherever in it, only not in the middle of a sync. */
const ANYWHERE: LogPlace = { epoch: 0, index: 0 }

export function consistency(components: ConsistencyComponents, options: ConsistencyOptions): Consistency {
  const { clusterId, logId, set, key, head, followed, settled } = components
  let last: { local: LogPlace; replicated: LogPlace; key: Uint8Array; text: string | undefined } | undefined

  /** What of a state has to be in the primary's log; undefined when nothing has. Throws when it should be in this cluster's log and is not. */
  function requiredOfPrimary(state: IndexState): LogPlace | undefined {
    if (state.clusterId === clusterId && state.logId === logId && comparePlaces(state.local, head()) > 0)
      throw notPresent()
    if (followed !== undefined) return state.set === set ? state.replicated : ANYWHERE
    if (state.set === set && set !== '' && comparePlaces(state.replicated, head()) > 0) throw notPresent()
    return undefined
  }

  function isHere(required: LogPlace): boolean {
    const place = followed?.place()
    return place !== undefined && comparePlaces(required, place) <= 0
  }

  async function arrived(missing: readonly LogPlace[]): Promise<boolean> {
    const deadline = performance.now() + options.waitMs
    for (const required of missing) {
      // An index means something in its own epoch only. A later epoch comes with another link: nothing to wait for.
      const place = followed!.place()
      if (place === undefined || required.epoch <= place.epoch) {
        await followed!.applied(required.index, Math.max(0, deadline - performance.now()))
      }
      if (!isHere(required)) return false
    }
    await settled()
    return true
  }

  return {
    settled,
    head,

    present(headers) {
      const { wait, forward } = consistencyDirectives(headers, options.allowForwardingViaHeader ?? false)
      const header = headers['x-vault-index']
      if (header === undefined || header === '') return true
      const current = key()
      // A new secondary gets the key with the first of its data: it has nothing that could have been asked for.
      const states = current && decodeIndexHeader(current, header)
      const required = states?.map(requiredOfPrimary).filter((place) => place !== undefined) ?? [ANYWHERE]
      const missing = required.filter((place) => !isHere(place))
      if (missing.length === 0) return settled()?.then(() => true) ?? true
      if (!wait) return forward ? Promise.resolve(false) : Promise.reject(notPresent())
      return arrived(missing).then((here) => {
        if (!here && !forward) throw notPresent()
        return here
      })
    },

    assertHere(headers) {
      const current = key()
      const header = headers['x-vault-index']
      if (current === undefined || header === undefined || header === '') return
      if (decodeIndexHeader(current, header).some((state) => requiredOfPrimary(state) !== undefined)) throw notPresent()
    },

    index(reached) {
      const current = key()
      if (current === undefined) return undefined
      const local = head()
      let replicated = followed === undefined ? local : followed.place()
      if (reached !== undefined && (replicated === undefined || comparePlaces(reached, replicated) > 0))
        replicated = reached
      if (replicated === undefined) return undefined
      const same =
        last !== undefined &&
        last.key === current &&
        comparePlaces(last.local, local) === 0 &&
        comparePlaces(last.replicated, replicated) === 0
      if (!same) {
        const text = encodeIndexState(current, { clusterId, logId, set, local, replicated })
        last = { local, replicated, key: current, text }
      }
      return last!.text
    },
  }
}
