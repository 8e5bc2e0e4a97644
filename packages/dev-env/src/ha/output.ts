import type { ChildProcess } from 'node:child_process'
import type { Readable } from 'node:stream'

const KEPT_CHARACTERS = 16 * 1024
const TIMEOUT_MS = 60_000

/** What the stream said last. */
export function boundedOutput(stream: Readable): () => string {
  let text = ''
  stream.on('data', (chunk: Buffer) => {
    text = (text + chunk.toString('utf8')).slice(-KEPT_CHARACTERS)
  })
  return () => text
}

/** Resolves when the program says `sign`; otherwise kills it and rejects with what it said. */
export function untilOutput(child: ChildProcess, stream: Readable, sign: string, name: string): Promise<void> {
  const output = boundedOutput(stream)
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      clearTimeout(timer)
      child.kill('SIGKILL')
      reject(new Error(`${name} did not start: ${why}\n${output()}`))
    }
    const timer = setTimeout(() => fail('no sign of readiness'), TIMEOUT_MS)
    child.once('error', (error) => fail(String(error)))
    const ended = (code: number | null): void => fail(`it exited with ${code}`)
    child.once('exit', ended)
    stream.on('data', () => {
      if (!output().includes(sign)) return
      clearTimeout(timer)
      child.off('exit', ended)
      resolve()
    })
  })
}
