/** What an end of a link does when its owner says nothing. */
import type { SelfReport } from '@lockstep/replication'
import type { OnRequest } from './link-calls.ts'

export const nothingToReport = (): Omit<SelfReport, 'cursor'> => ({ canary: 0, addresses: [], apiAddress: '' })

export const refuseRequests: OnRequest = (method) =>
  Promise.reject(Object.assign(new Error(`this end answers no requests (${method})`), { code: 'unknown-method' }))
