export type { HclErrorCode } from './errors.ts'
export { HclError } from './errors.ts'
export type { ParseOptions } from './parse.ts'
export { parseHcl } from './parse.ts'
