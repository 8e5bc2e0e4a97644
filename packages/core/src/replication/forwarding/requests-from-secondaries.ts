/** What a secondary may ask its primary for over the link, besides replication itself. */
import type { BackendResponse } from '@lockstep/backend'
import type { Plain } from '@lockstep/replication'
import type { LoggedStore } from '@lockstep/replication-driver'
import { CoreError, type Log } from '../../contracts.ts'
import type { Unsealed } from '../../seal-life-cycle/services.ts'
import { BOOTSTRAP, encodeBootstrapReply } from '../activation/bootstrap-reply.ts'
import type { PromotionReceipt } from '../promotion/receipts.ts'
import { parseRejoined, REJOINED } from '../promotion/rejoined.ts'
import type { ReplicationKind } from '../role-records.ts'
import { decodeForwardedRequest, encodeForwardedAnswer, FORWARD, type ForwardedRequest } from './forwarded-request.ts'

export type RequestFromSecondary = (secondaryId: string, method: string, body: Plain) => Promise<Plain>

export interface RequestsFromSecondariesComponents {
  unsealed: Unsealed
  store: LoggedStore
  kind: ReplicationKind
  log: Pick<Log, 'info'>
  clusterId: string
  /** Runs a forwarded request for this secondary; absent where nothing is forwarded (DR). */
  forwarded?(secondaryId: string, request: ForwardedRequest): Promise<BackendResponse | undefined>
  /** Rejects when this secondary may not have the keyring (any more). */
  redeem(secondaryId: string): Promise<void>
  /** The promotions of the set, for former primaries that come back. */
  promotions(): Promise<PromotionReceipt[]>
  /** A former primary, which led until the end of this epoch, follows this cluster now. */
  rejoined(secondaryId: string, ledEpoch: number): Promise<void>
}

/** Errors it rejects with reach the secondary with code and message. */
export function requestsFromSecondaries(components: RequestsFromSecondariesComponents): RequestFromSecondary {
  const { unsealed, store, kind, clusterId, forwarded } = components
  return async (secondaryId, method, body) => {
    if (method === BOOTSTRAP) {
      await components.redeem(secondaryId)
      const operatorKey = await unsealed.operatorKey()
      components.log.info('keyring and operator key handed to a replication secondary', { kind, id: secondaryId })
      const promotions = await components.promotions()
      return encodeBootstrapReply({ clusterId, keyring: unsealed.keyring().serialize(), operatorKey, promotions })
    }
    if (method === FORWARD && forwarded !== undefined) {
      const response = await forwarded(secondaryId, decodeForwardedRequest(body))
      return encodeForwardedAnswer({ response, place: store.log.head() })
    }
    if (method === REJOINED) {
      await components.rejoined(secondaryId, parseRejoined(body))
      return null
    }
    throw new CoreError(
      'CORE_INVALID_REQUEST',
      `unknown request ${JSON.stringify(method.slice(0, 64))} over the replication link`,
    )
  }
}
