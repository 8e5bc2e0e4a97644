/**
 * The worker's program, as text: it runs the same whether this package is TypeScript source under a test runner or built
 * JavaScript, and no bundler has to know of a second entry point. It answers `{ id, text }` with `{ id, json }`,
 * `{ id, error }` (the parser's words) or `{ id, failed }`.
 */
export const WORKER_SOURCE = `
const { parentPort, workerData } = require('node:worker_threads')
const { parse } = require('node:module').createRequire(workerData.resolveFrom)('js-hcl-parser')
// The Go runtime asks for endless stack traces; collecting them turns a deep recursion into half a minute of work.
Error.stackTraceLimit = 0
const FAILURE = /^unable to (?:parse|print) JSON: /
parentPort.on('message', ({ id, text }) => {
  let answer
  try {
    const result = parse(text)
    // Success is always a JSON object, so it begins with a brace and cannot be mistaken.
    answer = FAILURE.test(result) ? { id, error: result.replace(FAILURE, '') } : { id, json: result }
  } catch (error) {
    answer = { id, failed: error instanceof RangeError ? 'nested too deeply' : 'internal error' }
  }
  parentPort.postMessage(answer)
})
`
