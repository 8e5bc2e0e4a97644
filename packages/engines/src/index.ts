export { cubbyholeEngine } from './cubbyhole/index.ts'
export { kvEngine } from './kv.ts'
export { kvV1Engine } from './kv-v1/index.ts'
export { kvV2Engine } from './kv-v2/index.ts'
