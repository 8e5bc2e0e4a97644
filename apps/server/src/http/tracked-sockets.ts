/**
 * The sockets of one server. Node's own `closeIdleConnections` leaves those open that never sent a request, and its
 * `closeAllConnections` does not know those still in a TLS handshake; either would hold up a shutdown.
 */
import type { Server } from 'node:http'
import type { Socket } from 'node:net'

export interface TrackedSockets {
  /** Ends every established connection that `busy` does not claim. */
  endUnless(busy: (socket: Socket) => boolean): void
  destroyAll(): void
}

export function trackSockets(server: Server, tls: boolean): TrackedSockets {
  const all = new Set<Socket>()
  const established = tls ? new Set<Socket>() : all
  const trackIn = (set: Set<Socket>) => (socket: Socket) => {
    set.add(socket)
    socket.on('close', () => set.delete(socket))
  }
  server.on('connection', trackIn(all))
  if (tls) server.on('secureConnection', trackIn(established))
  return {
    endUnless(busy) {
      for (const socket of established) if (!busy(socket)) socket.destroySoon()
    },
    destroyAll() {
      for (const socket of [...established, ...all]) socket.destroy()
    },
  }
}
