/** The least an HTTP server in node can do: what the generator reaches with it bounds what it can measure. */
import { createServer } from 'node:http'

const body = JSON.stringify({ data: { value: 'x'.repeat(200) } })
const server = createServer((_request, response) => {
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': body.length })
  response.end(body)
})
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))
process.on('disconnect', () => process.exit())
