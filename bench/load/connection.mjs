/**
 * One keep-alive connection that sends serialised requests one after another. Reads no more of an answer than its status and its
 * length, so that the generator costs far less than what it measures.
 */
import { connect } from 'node:net'

const HEAD_END = Buffer.from('\r\n\r\n')
const LENGTH = Buffer.from('\r\ncontent-length: ')
const LENGTH_AS_GO_AND_WE_SPELL_IT = Buffer.from('\r\nContent-Length: ')

/**
 * `next()` gives the next request (undefined: stop), `answered(status, bytes)` is told of each answer and may return an error, `wait()`
 * gives the milliseconds between an answer and the next request. Resolves when stopped.
 */
export function drive(port, { next, answered, wait }) {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    let pending = null

    const send = () => {
      const request = next()
      if (request === undefined) {
        socket.destroy()
        resolve()
      } else socket.write(request)
    }

    socket.on('connect', send)
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('the server closed the connection')))
    socket.on('data', (chunk) => {
      const bytes = pending === null ? chunk : Buffer.concat([pending, chunk])
      let end
      try {
        end = endOfAnswer(bytes)
      } catch (error) {
        socket.destroy()
        reject(error)
        return
      }
      if (end > bytes.length) {
        pending = bytes
        return
      }
      pending = null
      // "HTTP/1.1 200"
      const status = (bytes[9] - 48) * 100 + (bytes[10] - 48) * 10 + (bytes[11] - 48)
      const problem = answered(status, bytes)
      if (problem !== undefined) {
        socket.destroy()
        reject(problem)
        return
      }
      const pause = wait()
      if (pause < 1) send()
      else setTimeout(send, pause)
    })
  })
}

/** Bytes of the whole answer; more than there are when some are missing. */
function endOfAnswer(bytes) {
  const head = bytes.indexOf(HEAD_END)
  if (head === -1) return Number.POSITIVE_INFINITY
  const body = head + HEAD_END.length
  let at = bytes.indexOf(LENGTH_AS_GO_AND_WE_SPELL_IT)
  if (at === -1 || at > head) at = bytes.indexOf(LENGTH)
  if (at === -1 || at > head) {
    const status = bytes.toString('latin1', 9, 12)
    if (status === '204' || status === '304') return body
    throw new Error(`an answer without Content-Length: ${bytes.toString('latin1', 0, head)}`)
  }
  let length = 0
  for (let index = at + LENGTH.length; bytes[index] !== 13; index++) length = length * 10 + (bytes[index] - 48)
  return body + length
}
