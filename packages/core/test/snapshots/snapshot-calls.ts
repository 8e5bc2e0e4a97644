/** Saving and restoring by requests, as an HTTP server makes them. */
import type { CoreRequest } from '../../src/contracts.ts'
import type { Node } from '../cluster.ts'

export const PATH = 'sys/storage/snapshot'

interface SaveOptions {
  path?: string
  token?: string
  /** Before any of it is read. */
  meanwhile?(): Promise<unknown>
}

export async function save(
  node: Node,
  { path = PATH, token = node.token, meanwhile }: SaveOptions = {},
): Promise<Buffer> {
  const { stream } = await node.core.handle(request('read', path, token))
  await meanwhile?.()
  return Buffer.concat(await stream!.body.toArray())
}

/** `done`, or the error's code and text. Restoring ends with services that run, or a sealed node. */
export async function restore(
  node: Node,
  snapshot: Uint8Array | AsyncIterable<Uint8Array>,
  { path = PATH, force = false, token = node.token } = {},
): Promise<string> {
  const body = snapshot instanceof Uint8Array ? pieces(snapshot) : snapshot
  try {
    const { status } = await node.core.handle({ ...request('update', force ? `${path}-force` : path, token), body })
    return status === 204 ? 'done' : `status ${status}`
  } catch (error) {
    const { code, message } = error as { code: string; message: string }
    return `${code}: ${message}`
  }
}

/** As they come from a network. */
async function* pieces(bytes: Uint8Array, size = 1000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

function request(operation: CoreRequest['operation'], path: string, clientToken: string): CoreRequest {
  return {
    ...{ id: 'test', operation, path, data: {}, clientToken },
    ...{ headers: {}, remoteAddress: '127.0.0.1', remotePort: 1, wrapTtl: 0, wrapFormat: '' },
  }
}
