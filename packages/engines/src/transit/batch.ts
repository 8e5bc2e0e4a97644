import { BackendError, type BackendResponse, isLosslessNumber } from '@lockstep/backend'
import { refuse } from './transit-key.ts'

/** One element of `batch_input`, or the single request seen as one. */
export interface BatchItem {
  /** The text member the operation works on (`plaintext`, `ciphertext`, `input`); undefined when not given. */
  value: string | undefined
  context: string | undefined
  associatedData: string | undefined
  nonce: string | undefined
  signature: string | undefined
  hmac: string | undefined
  keyVersion: number
  reference: string
}

const maxItems = 100_000

/** @param member name of the text member */
export function batchItems(batch: readonly unknown[], member: string): BatchItem[] {
  if (batch.length === 0) refuse('missing batch input to process')
  if (batch.length > maxItems) refuse(`batch input has more than ${maxItems} items`)
  return batch.map((raw, index) => {
    if (typeof raw !== 'object' || raw === null || Array.isArray(raw) || isLosslessNumber(raw)) {
      refuse(`failed to parse batch input: [${index}] expected a map, got '${typeof raw}'`)
    }
    return batchItem(raw as Record<string, unknown>, member, `[${index}].`)
  })
}

export function batchItem(raw: Readonly<Record<string, unknown>>, member: string, position = ''): BatchItem {
  const text = (name: string): string | undefined => {
    const value = raw[name]
    if (value === undefined || value === null || typeof value === 'string') return value ?? undefined
    return refuse(`failed to parse batch input: '${position}${name}' expected type 'string'`)
  }
  const version = raw.key_version ?? 0
  const versionText = typeof version === 'object' && !isLosslessNumber(version) ? '' : String(version)
  if (!/^-?[0-9]{1,9}$/.test(versionText)) {
    refuse(`failed to parse batch input: '${position}key_version' expected type 'int'`)
  }
  return {
    value: text(member),
    context: text('context'),
    associatedData: text('associated_data'),
    nonce: text('nonce'),
    signature: text('signature'),
    hmac: text('hmac'),
    keyVersion: Number(versionText),
    reference: text('reference') ?? '',
  }
}

/** Runs `operation` per item; a refusal becomes the item's `error` beside `failed`'s members. */
export function batchResults(
  items: readonly BatchItem[],
  operation: (item: BatchItem) => Record<string, unknown>,
  failed: Record<string, unknown> = {},
): { results: Record<string, unknown>[]; failures: number } {
  let failures = 0
  const results = items.map((item) => {
    try {
      return { ...operation(item), reference: item.reference }
    } catch (error) {
      if (!(error instanceof BackendError)) throw error
      failures++
      return { ...failed, error: error.message, reference: item.reference }
    }
  })
  return { results, failures }
}

/** 400 when an item failed; `partialStatus` instead of it when another item succeeded. */
export function batchResponse(
  outcome: { results: Record<string, unknown>[]; failures: number },
  partialStatus: number,
): BackendResponse {
  const response: BackendResponse = { data: { batch_results: outcome.results } }
  if (outcome.failures === 0) return response
  const partial = outcome.failures < outcome.results.length && partialStatus > 0
  return { ...response, status: partial ? partialStatus : 400 }
}
