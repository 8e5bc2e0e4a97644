/** The request headers that say what to do when a state is missing. */
import { CoreError } from '../contracts.ts'

export interface ConsistencyDirectives {
  /** Wait for the state. */
  wait: boolean
  /** Then ask the primary. */
  forward: boolean
}

const DEFAULTS: ConsistencyDirectives = { wait: true, forward: true }
const FORWARD = 'forward-active-node'

/**
 * `X-Vault-Inconsistent`: `forward-active-node` (Vault: ask at once), `fail` and `await-state` (OpenBao: neither wait nor ask; wait). Values
 * that are not known count as absent, as in Vault. `X-Vault-Forward` asks for the active node, which is the only one that gets here.
 */
export function consistencyDirectives(
  headers: Readonly<Record<string, string>>,
  allowForwardingViaHeader: boolean,
): ConsistencyDirectives {
  const forward = headers['x-vault-forward']
  if (forward !== undefined && forward !== '' && !allowForwardingViaHeader) throw disabled('X-Vault-Forward')
  const given = headers['x-vault-inconsistent']
  if (given === undefined || given === '') return DEFAULTS
  const values = new Set(given.split(',').map((value) => value.trim()))
  if (values.has(FORWARD) && !allowForwardingViaHeader) throw disabled(`X-Vault-Inconsistent=${FORWARD}`)
  const awaits = values.has('await-state')
  if (!awaits && !values.has('fail') && !values.has(FORWARD)) return DEFAULTS
  return { wait: awaits, forward: !values.has('fail') }
}

function disabled(header: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', `forwarding via header ${header} disabled in configuration`)
}
