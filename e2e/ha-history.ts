/**
 * What a storage says was committed to it, in the order of commits, and whether that is the work of one leader at a time. Nothing here is taken from a log or from
 * what a node says about itself:
 * - PostgreSQL: triggers note every row change beside it, with the fencing token that stood in the table of leaders at that moment and the name
 *   under which the writing node connected; the server's commit timestamps give the order.
 * - etcd: its revisions, none of them compacted, with the lock's key among them. They do not say who made a change; two nodes would
 *   show in the log, whose one line they would fork.
 */
import type { HaCluster } from '@lockstep/dev-env'
import { Client } from 'pg'
import { etcdRevisions, type Revision } from './etcd-revisions.ts'

export interface Change {
  /** Without the prefix of the cluster. */
  key: string
  /** Undefined: deleted, or a value the checks do not need. */
  value: Buffer | undefined
  deleted: boolean
  /** Changes of one commit have the same; later ones a greater one. */
  commit: number
  /** The leadership that it was committed under: its fencing token, 0 for none. */
  token: bigint
  /** It is the taking of the lead itself. */
  leads: boolean
  /** The node that made it. Undefined with etcd, which does not know. */
  node: string | undefined
}

/** PostgreSQL: before the first write that is to be checked. etcd keeps everything anyway. */
export async function recordHistory(cluster: HaCluster): Promise<void> {
  if (cluster.storage.kind === 'postgresql')
    await withPostgres(cluster, (client, table) => client.query(triggers(table)))
}

export async function readHistory(cluster: HaCluster): Promise<Change[]> {
  if (cluster.storage.kind === 'postgresql') return withPostgres(cluster, postgresHistory)
  return etcdHistory(await etcdRevisions(cluster.storage.url()), `${cluster.name}/`)
}

/** Beside the data: what any node says of itself, which decides nothing. */
const UNFENCED = /^nodes\//

/** Where two nodes accepted writes, if they did: sentences, none when the history is one leader's after the other's. */
export function violations(history: readonly Change[]): string[] {
  return [...overtaken(history), ...forks(history)]
}

/** Nothing is committed under no token or one that is not the newest, and a token's changes are all of the node that took it. */
function overtaken(history: readonly Change[]): string[] {
  const found: string[] = []
  let newest = 0n
  let owner: string | undefined
  for (const { key, token, leads, node = 'a node' } of history) {
    if (UNFENCED.test(key)) continue
    if (token === 0n) found.push(`${node} changed ${key} while none led`)
    else if (token < newest) found.push(`${node} changed ${key} under token ${token} after ${newest} was given`)
    if (leads) owner = node
    else if (owner !== undefined && node !== owner)
      found.push(`${node} changed ${key} while ${owner} led by token ${token}`)
    if (token > newest) newest = token
  }
  return found
}

/**
 * The log is one line: its head only goes forward, each of its records is written once, and a head's digest, which chains all before it, is that of its record.
 * A node that did not know of another's writes would write a head or a record again.
 */
function forks(history: readonly Change[]): string[] {
  const found: string[] = []
  const heads = new Map<string, Head>()
  const rows = new Map<string, string>()
  for (const { key, value, deleted } of history) {
    if (deleted || value === undefined) continue
    const row = /^(g\d+)\/w\/([0-9a-f]{16})$/.exec(key)
    if (row !== null) {
      const place = `${row[1]} ${Number.parseInt(row[2]!, 16)}`
      if (rows.has(place)) found.push(`log record ${place} was written twice`)
      rows.set(place, value.toString('hex', 0, DIGEST_BYTES))
    }
    const generation = /^(g\d+)\/h$/.exec(key)?.[1]
    if (generation === undefined) continue
    const head = decodeHead(value)
    const before = heads.get(generation)
    if (before !== undefined && !follows(before, head))
      found.push(`the head went from ${JSON.stringify(before)} to ${JSON.stringify(head)}`)
    heads.set(generation, head)
    const digest = rows.get(`${generation} ${head.index}`)
    if (digest !== undefined && digest !== head.digest) found.push(`the head at ${head.index} is not its record's`)
  }
  return found
}

interface Head {
  epoch: number
  index: number
  digest: string
}

const DIGEST_BYTES = 32

/** Layout of packages/replication-driver/src/layout.ts. */
function decodeHead(value: Buffer): Head {
  const at = 1 + 5 * 6
  return {
    epoch: value.readUIntBE(1, 6),
    index: value.readUIntBE(7, 6),
    digest: value.toString('hex', at, at + DIGEST_BYTES),
  }
}

function follows(before: Head, head: Head): boolean {
  if (head.epoch !== before.epoch) return head.epoch > before.epoch
  if (head.index === before.index) return head.digest === before.digest
  return head.index > before.index
}

/** Paths below their mount of all data that was ever stored. */
export function storedData(history: readonly Change[]): Set<string> {
  const paths = new Set<string>()
  for (const { key, deleted } of history) {
    const path = /^g\d+\/d\/logical\/[^/]+\/(.+)$/.exec(key)?.[1]
    if (path !== undefined && !deleted) paths.add(path)
  }
  return paths
}

async function withPostgres<T>(cluster: HaCluster, body: (client: Client, table: string) => Promise<T>): Promise<T> {
  const client = new Client(cluster.storage.url())
  await client.connect()
  try {
    return await body(client, cluster.name.replaceAll('-', '_'))
  } finally {
    await client.end()
  }
}

function triggers(table: string): string {
  return `
    CREATE TABLE ${table}_history (
      number bigserial, xid xid8 NOT NULL, key bytea NOT NULL, deleted boolean NOT NULL, value bytea, token bigint NOT NULL, node text NOT NULL,
      leads boolean NOT NULL
    );
    CREATE FUNCTION ${table}_note() RETURNS trigger LANGUAGE plpgsql AS $$
      DECLARE key bytea := CASE WHEN TG_OP = 'DELETE' THEN OLD.head ELSE NEW.head END;
      BEGIN
        INSERT INTO ${table}_history (xid, key, deleted, value, token, node, leads) VALUES (
          pg_current_xact_id(), key, TG_OP = 'DELETE',
          CASE WHEN TG_OP <> 'DELETE' AND encode(key, 'escape') ~ '^g[0-9]+/(h$|w/)' THEN NEW.value END,
          coalesce((SELECT l.token FROM ${table}_leaders l WHERE l.name = 'leader'), 0), current_setting('application_name'), false);
        RETURN NULL;
      END $$;
    CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON ${table} FOR EACH ROW EXECUTE FUNCTION ${table}_note();
    CREATE FUNCTION ${table}_note_leader() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        INSERT INTO ${table}_history (xid, key, deleted, token, node, leads)
        VALUES (pg_current_xact_id(), 'leader', false, NEW.token, current_setting('application_name'), true);
        RETURN NULL;
      END $$;
    CREATE TRIGGER note_new AFTER INSERT ON ${table}_leaders FOR EACH ROW EXECUTE FUNCTION ${table}_note_leader();
    CREATE TRIGGER note_next AFTER UPDATE ON ${table}_leaders FOR EACH ROW WHEN (OLD.token <> NEW.token)
      EXECUTE FUNCTION ${table}_note_leader();
  `
}

interface Row {
  commit: string
  key: Buffer
  deleted: boolean
  value: Buffer | null
  token: string
  node: string
  leads: boolean
}

async function postgresHistory(client: Client, table: string): Promise<Change[]> {
  const { rows } = await client.query<Row>(
    `SELECT dense_rank() OVER (ORDER BY pg_xact_commit_timestamp(xid::xid), xid) AS commit, key, deleted, value, token, node, leads
     FROM ${table}_history ORDER BY 1, number`,
  )
  return rows.map(({ commit, key, value, token, ...row }) => ({
    ...row,
    key: key.toString('utf8'),
    value: value ?? undefined,
    commit: Number(commit),
    token: BigInt(token),
  }))
}

/** storage-etcd's keys: the lock, whose create revision is the fencing token, and data, each value behind a byte that says it is whole. */
function etcdHistory(revisions: readonly Revision[], prefix: string): Change[] {
  const [lock, data] = [`${prefix}lock/leader`, `${prefix}d/`]
  const changes: Change[] = []
  let token = 0n
  for (const { key, value, deleted, revision, created } of revisions) {
    const change = { deleted, commit: revision, node: undefined }
    if (key === lock) {
      const leads = !deleted && created === revision
      token = deleted ? 0n : BigInt(created)
      if (leads) changes.push({ ...change, key: 'leader', value: undefined, token, leads })
    } else if (key.startsWith(data)) {
      const name = key.slice(data.length)
      if (/^g\d+\/(h$|w\/)/.test(name) && value !== undefined && value[0] !== 0) throw new Error(`${key} is not whole`)
      changes.push({ ...change, key: name, value: value?.subarray(1), token, leads: false })
    }
  }
  return changes
}
