/** Every change of role. */
import { type ChangeRunner, changeRunner } from './change-runner.ts'
import { type PrimaryChanges, type PrimaryChangesComponents, primaryChanges } from './primary-changes.ts'
import { type PromotionChange, type PromotionChangeComponents, promotionChange } from './promotion-change.ts'
import { type SecondaryChanges, type SecondaryChangesComponents, secondaryChanges } from './secondary-changes.ts'

export type RoleChangesComponents = Omit<
  PrimaryChangesComponents & PromotionChangeComponents & SecondaryChangesComponents,
  'changes'
>

export type RoleChanges = PrimaryChanges & PromotionChange & SecondaryChanges & Pick<ChangeRunner, 'end'>

export function roleChanges(components: RoleChangesComponents): RoleChanges {
  const changes = changeRunner(components)
  const parts = { ...components, changes }
  return { ...primaryChanges(parts), ...promotionChange(parts), ...secondaryChanges(parts), end: changes.end }
}
