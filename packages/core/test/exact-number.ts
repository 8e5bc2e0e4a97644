import { decodeExactJson } from '@lockstep/backend'

/** A number whose text is kept, as the parser makes it. `text` must be one that a JavaScript number would not keep. */
export function exactNumber(text: string): unknown {
  return decodeExactJson(Buffer.concat([Buffer.of(1), Buffer.from(`{"n":${text}}`)])).n
}
