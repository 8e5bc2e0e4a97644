export { CoreError } from './contracts.ts'
