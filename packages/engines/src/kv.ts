import { BackendError, type BackendFactory } from '@lockstep/backend'
import { kvV1Engine } from './kv-v1/index.ts'
import { kvV2Engine } from './kv-v2/index.ts'

/** `kv`: version 1 unless the mount's options say `version: "2"`. */
export function kvEngine(): BackendFactory {
  const versions: Record<string, BackendFactory> = { '1': kvV1Engine(), '2': kvV2Engine() }
  return (context) => {
    const { version = '1' } = context.options
    const factory = Object.hasOwn(versions, version) ? versions[version] : undefined
    if (factory === undefined) throw new BackendError('BACKEND_INVALID_REQUEST', 'unsupported kv version')
    return factory(context)
  }
}
