/** The load generator as the bench uses it: a process of its own. */
import { fork } from 'node:child_process'

export function loadGenerator() {
  const child = fork(new URL('./generator.mjs', import.meta.url))
  return {
    pid: child.pid,
    /** One job at a time: see `run` in generator.mjs. */
    run(job) {
      return new Promise((resolve, reject) => {
        const failed = (code) => reject(new Error(`the load generator exited with ${code}`))
        child.once('exit', failed)
        child.once('message', ({ result, error }) => {
          child.off('exit', failed)
          if (error === undefined) resolve(result)
          else reject(new Error(error))
        })
        child.send(job)
      })
    },
    stop() {
      child.disconnect()
    },
  }
}

/** One HTTP/1.1 request as text. */
export function request(method, path, { token, body } = {}) {
  const text = body === undefined ? '' : JSON.stringify(body)
  const lines = [`${method} /v1/${path} HTTP/1.1`, 'Host: 127.0.0.1']
  if (token !== undefined) lines.push(`X-Vault-Token: ${token}`)
  if (body !== undefined) lines.push('Content-Type: application/json', `Content-Length: ${Buffer.byteLength(text)}`)
  return `${lines.join('\r\n')}\r\n\r\n${text}`
}
