/** Command-line flags of the bench. */
import { parseArgs } from 'node:util'

const HELP = `node bench/run.mjs [flags]
  --seconds N       measured seconds per operation, contender and round (default 5)
  --rounds N        A/B rounds (default 2)
  --connections N   keep-alive connections (default 32)
  --only a,b        only rows whose name contains one of these (generator, kv-v1-read, replication, ...)
  --contender NAME  only lockstep or openbao
  --storage A,B     what they store in: local (default; level, and raft for OpenBao), postgresql (both), etcd (lockstep)
  --bao FILE        OpenBao's binary (default ../shared/peer/bao; left out when missing)
  --keys N          keys of the initial sync (default 100000)
  --node-args ARGS  arguments for the lockstep server's node, for instance --cpu-prof
  --json FILE       also write everything as JSON`

export function readOptions(args) {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: 'string', default: '5' },
      rounds: { type: 'string', default: '2' },
      connections: { type: 'string', default: '32' },
      only: { type: 'string' },
      contender: { type: 'string' },
      storage: { type: 'string', default: 'local' },
      bao: { type: 'string', default: new URL('../../shared/peer/bao', import.meta.url).pathname },
      keys: { type: 'string', default: '100000' },
      'node-args': { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean' },
    },
  })
  if (values.help) {
    console.log(HELP)
    process.exit(0)
  }
  const only = values.only?.split(',')
  const storages = values.storage.split(',')
  for (const storage of storages) {
    if (!['local', 'postgresql', 'etcd'].includes(storage)) throw new Error(`--storage does not know ${storage}`)
  }
  return {
    seconds: positive(values.seconds, 'seconds'),
    rounds: positive(values.rounds, 'rounds'),
    connections: positive(values.connections, 'connections'),
    keys: positive(values.keys, 'keys'),
    contender: values.contender,
    storages,
    bao: values.bao,
    nodeArgs: values['node-args']?.split(' ') ?? [],
    json: values.json,
    wanted: (name) => only === undefined || only.some((part) => name.includes(part)),
  }
}

function positive(text, name) {
  const number = Number(text)
  if (!(number > 0)) throw new Error(`--${name} expects a positive number`)
  return number
}
