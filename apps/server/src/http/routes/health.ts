/** `sys/health`: the state as a status code that load balancers understand and callers may choose. */
import type { FastifyInstance } from 'fastify'
import { byMethod, rootNamespaceOnly, route } from '../bare-routes.ts'
import type { RouteContext, Serve } from '../exchange.ts'
import { HttpError } from '../http-error.ts'
import { stringifyJson } from '../json-number.ts'
import { parseBool } from '../parse-bool.ts'
import type { HealthState } from '../server-core.ts'

const CODES: Record<HealthState, readonly [parameter: string, status: number]> = {
  active: ['activecode', 200],
  standby: ['standbycode', 429],
  'dr-secondary': ['drsecondarycode', 472],
  'performance-standby': ['performancestandbycode', 473],
  uninitialized: ['uninitcode', 501],
  sealed: ['sealedcode', 503],
}

/** Newer Vault's, for states this server is never in; checked like the others. */
const OF_OTHER_STATES = ['haunhealthycode', 'removedcode']

export function healthRoutes(app: FastifyInstance, { core, reply }: RouteContext): void {
  const serve: Serve = async ({ query, response, echo }) => {
    const statusOf = readCodes(query)
    const { state, body } = await core.health()
    // Clients written in strict languages fail on an absent performance_standby.
    const text = stringifyJson({ performance_standby: state === 'performance-standby', ...body })
    reply.json(response, statusOf(state), `${text}\n`, echo)
  }
  route(app, '/v1/sys/health', rootNamespaceOnly(byMethod({ GET: serve, HEAD: serve })))
}

/** Throws 400 for a code that is no HTTP status and a flag that is no boolean. */
function readCodes(query: string): (state: HealthState) => number {
  if (query === '') return (state) => CODES[state][1]
  const parameters = new URLSearchParams(query)
  const codes = {} as Record<HealthState, number>
  const code = (parameter: string): number | undefined => {
    const text = parameters.get(parameter)
    // 1xx is not a final status: node would refuse to send it.
    if (text !== null && !/^[2-9]\d{2}$/.test(text)) throw new HttpError(400, '')
    return text === null ? undefined : Number(text)
  }
  for (const [state, [parameter, standard]] of Object.entries(CODES)) {
    codes[state as HealthState] = code(parameter) ?? standard
  }
  for (const parameter of OF_OTHER_STATES) code(parameter)
  const flag = (name: string): boolean => {
    const text = parameters.get(name)
    if (text === null) return false
    const value = text === '' ? true : parseBool(text)
    if (value === undefined) throw new HttpError(400, '')
    return value
  }
  if (flag('standbyok')) codes.standby = codes.active
  if (flag('perfstandbyok')) codes['performance-standby'] = codes.active
  return (state) => codes[state]
}
