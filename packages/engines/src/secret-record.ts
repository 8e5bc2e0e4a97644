/** A user's secret as stored: see `encodeExactJson`. */
export { decodeExactJson as decodeSecret, encodeExactJson as encodeSecret } from '@lockstep/backend'
