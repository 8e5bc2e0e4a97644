import { connect } from 'node:net'
import { waitFor } from '@lockstep/dev-env'

/** Resolves when something accepts connections on the port. */
export async function accepting(what, port) {
  await waitFor(`${what} to listen`, () => {
    return new Promise((resolve) => {
      const socket = connect({ port, host: '127.0.0.1' })
      socket.on('connect', () => {
        socket.destroy()
        resolve(true)
      })
      socket.on('error', () => resolve(false))
    })
  })
}
