import { CoreError, type CoreRequest, type CoreResponse } from '../contracts.ts'
import type { RequestComponents } from './components.ts'

const notWrapped = new Set(['sys/wrapping/lookup', 'sys/wrapping/rewrap', 'sys/wrapping/unwrap'])

/** Whether the client's answer goes behind a wrapping token. */
export function wantsWrapping(request: CoreRequest, response: CoreResponse): boolean {
  return request.wrapTtl > 0 && response.envelope !== undefined && !notWrapped.has(request.path)
}

/** Puts the whole envelope behind a single-use token; the client gets only the token. */
export async function wrappedResponse(
  components: Pick<RequestComponents, 'wrapping' | 'apiAddress'>,
  request: CoreRequest,
  response: CoreResponse,
): Promise<CoreResponse> {
  const { envelope } = response
  if (envelope === undefined) throw new CoreError('CORE_INTERNAL', 'only an envelope can be wrapped')
  if (envelope.wrap_info !== null) return response
  const wrapInfo = await components.wrapping.wrap({
    response: envelope,
    ttl: request.wrapTtl,
    path: request.path,
    format: request.wrapFormat,
    ...(envelope.auth === null ? undefined : { wrappedAccessor: envelope.auth.accessor }),
    ...(components.apiAddress === undefined ? undefined : { address: components.apiAddress() }),
  })
  return {
    status: 200,
    ...(response.headers === undefined ? undefined : { headers: response.headers }),
    envelope: {
      request_id: '',
      lease_id: '',
      renewable: false,
      lease_duration: 0,
      data: null,
      wrap_info: wrapInfo,
      warnings: envelope.warnings,
      auth: null,
    },
  }
}
