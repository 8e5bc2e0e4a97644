import { CoreError, type CoreRequest, type CoreResponse, type MetricsSnapshot } from '@lockstep/core'
import type { ServerCore } from '../src/http/server-core.ts'

export interface FakeCore extends ServerCore {
  /** Every request handed over, newest last. */
  readonly requests: CoreRequest[]
  readonly calls: unknown[][]
  answer: (request: CoreRequest) => Promise<CoreResponse> | CoreResponse
  state: Awaited<ReturnType<ServerCore['health']>>['state']
  leaderBody: Record<string, unknown>
  closed: boolean
  snapshot: MetricsSnapshot
  reloads: number
}

/** The full envelope around `data`. */
export function envelope(data: Record<string, unknown> | null, id = 'id'): NonNullable<CoreResponse['envelope']> {
  return {
    request_id: id,
    lease_id: '',
    renewable: false,
    lease_duration: 0,
    data,
    wrap_info: null,
    warnings: null,
    auth: null,
  }
}

/** A core that records what it is asked and answers what the test says; by default it echoes the data. */
export function fakeCore(): FakeCore {
  const requests: CoreRequest[] = []
  const calls: unknown[][] = []
  let reloads = 0
  return {
    requests,
    calls,
    state: 'active',
    leaderBody: { ha_enabled: false, is_self: true, leader_address: '' },
    closed: false,
    snapshot: { time: 0, seconds: 1, samples: [] },
    answer: (request) => ({ status: 200, envelope: envelope(request.data, request.id) }),
    get reloads() {
      return reloads
    },
    async handle(request) {
      requests.push(request)
      return this.answer(request)
    },
    async initialized() {
      return true
    },
    async initialize(params) {
      calls.push(['initialize', params])
      if (params.secret_shares === 0) throw new CoreError('CORE_INVALID_REQUEST', 'invalid seal configuration')
      return { keys: ['00'], keys_base64: ['AA=='], root_token: 'hvs.root' }
    },
    async sealBackendStatus() {
      return { healthy: true, fully_wrapped: true, backends: [] }
    },
    async sealStatus() {
      return { type: 'shamir', initialized: true, sealed: false }
    },
    async unseal(params) {
      calls.push(['unseal', params])
      return { sealed: false, t: 1 }
    },
    async generateRoot(kind, action, params) {
      calls.push([kind, action, params])
      return action === 'cancel' ? undefined : { started: action !== 'status', complete: false }
    },
    async rekey(target, action, params) {
      calls.push([target, action, params])
      return action === 'cancel' ? undefined : { started: action !== 'status' }
    },
    async health() {
      return { state: this.state, body: { initialized: true, sealed: this.state === 'sealed', version: '1.18.0' } }
    },
    async leader() {
      return this.leaderBody
    },
    async metrics() {
      return this.snapshot
    },
    async close() {
      this.closed = true
    },
    async reload() {
      reloads++
    },
  }
}
