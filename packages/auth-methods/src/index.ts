export { approleAuth } from './approle/index.ts'
export { userpassAuth } from './userpass/index.ts'
