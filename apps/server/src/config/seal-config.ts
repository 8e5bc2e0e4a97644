import { ConfigError } from './config-error.ts'
import type { Section } from './section.ts'
import type { StaticSealConfig } from './server-config.ts'

/** No block, or `seal "shamir"`: undefined. */
export function readSeal(roots: readonly Section[]): StaticSealConfig | undefined {
  const blocks = roots.flatMap((root) => root.labelled('seal'))
  const [block, second] = blocks
  if (second !== undefined) throw new ConfigError(`${second.section.where}: seal is configured more than once`)
  if (block === undefined || block.label === 'shamir') return undefined
  const { label, section } = block
  if (label !== 'static') {
    throw new ConfigError(`${section.where}: this seal type is not available; it must be 'static' or 'shamir'`)
  }
  const required = (key: string) => section.string(key) || section.refuse(key, 'set')
  const previousKeyId = section.string('previous_key_id')
  const previousKey = section.string('previous_key')
  if ((previousKeyId === undefined) !== (previousKey === undefined)) {
    throw new ConfigError(`${section.where}: previous_key_id and previous_key go together`)
  }
  const currentKeyId = required('current_key_id')
  if (currentKeyId === previousKeyId) section.refuse('previous_key_id', 'different from current_key_id')
  return { type: 'static', currentKeyId, currentKey: required('current_key'), previousKeyId, previousKey }
}
