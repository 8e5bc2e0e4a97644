export type { LinkComplianceOptions, LinkFixture } from './link.ts'
export { linkCompliance } from './link.ts'
