/** What the secondary makes of a welcome, and of a primary's epoch. */
import type { RefusalCode, VersionRange, Welcome } from '../messages.ts'
import type { Position } from './position.ts'

export interface Refusal {
  code: RefusalCode
  message: string
}

/** Why the secondary turns away from the primary. */
export function whyRefused(welcome: Welcome, position: Position, speaks: VersionRange): Refusal | undefined {
  if (welcome.protocol < speaks.min || welcome.protocol > speaks.max) {
    return { code: 'version', message: `protocol ${welcome.protocol} was chosen, which this secondary did not offer` }
  }
  if (position.clusterId !== '' && welcome.clusterId !== position.clusterId) {
    return { code: 'cluster', message: 'the primary belongs to another replication set' }
  }
  if (welcome.mode === 'stream' && position.cursor === null) {
    return { code: 'protocol', message: 'a stream without a place to start from' }
  }
  const { leader, head } = welcome
  if (head.epoch === position.epoch && leader !== undefined && (position.leader ?? leader) !== leader) {
    return {
      code: 'fenced',
      message: `the primary began epoch ${head.epoch} as another cluster than the one followed in it did: two were promoted from one epoch, demote one and update the primary here`,
    }
  }
  return whyFenced(head.epoch, position)
}

export function whyFenced(epoch: number, position: Position): Refusal | undefined {
  if (epoch >= position.epoch) return undefined
  return {
    code: 'fenced',
    message: `the primary is in epoch ${epoch}, but epoch ${position.epoch} was followed before`,
  }
}
