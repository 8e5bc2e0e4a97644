import { StorageError } from '@lockstep/storage'
import type { ClientBase } from 'pg'
import { advisoryKey, type Names } from './names.ts'

const FORMAT = 1

/** Creates the tables when they are missing; refuses those of a newer version. Leaves existing ones alone. */
export async function ensureSchema(client: ClientBase, names: Names): Promise<void> {
  if (await isCurrent(client, names)) return
  // Nodes that start at the same time take turns. The lock is the session's, not a transaction's: a transaction that
  // waited would go on with a cached answer that there is no such table.
  const turn = [advisoryKey('lockstep schema', names.entries)]
  await client.query('SELECT pg_advisory_lock($1)', turn)
  try {
    // Several statements in one query are one transaction.
    if (!(await isCurrent(client, names))) await client.query(schemaText(names))
  } finally {
    await client.query('SELECT pg_advisory_unlock($1)', turn)
  }
}

async function isCurrent(client: ClientBase, names: Names): Promise<boolean> {
  const { rows } = await client.query<{ found: string | null }>('SELECT to_regclass($1) AS found', [names.meta])
  if (rows[0]?.found == null) return false
  const meta = await client.query<{ format: number }>(`SELECT format FROM ${names.meta}`)
  const format = meta.rows[0]?.format
  if (format === undefined || format < FORMAT) {
    throw new StorageError('STORAGE_CORRUPT', `table ${names.meta} does not name a format this version knows`)
  }
  if (format > FORMAT) {
    throw new StorageError(
      'STORAGE_NEWER_FORMAT',
      `table ${names.meta} says format ${format}, newer than ${FORMAT}, the newest this version can read`,
    )
  }
  return true
}

function schemaText({ entries, meta, leaders }: Names): string {
  // bytea compares byte by byte, whatever the database's encoding and collation, and may hold U+0000, which text
  // may not. The digest stands for tails, which are too long to be indexed.
  return `
    CREATE TABLE ${entries} (
      head bytea NOT NULL,
      tail bytea NOT NULL,
      digest bytea NOT NULL GENERATED ALWAYS AS (CASE WHEN tail = '' THEN ''::bytea ELSE sha256(tail) END) STORED,
      value bytea NOT NULL,
      PRIMARY KEY (head, digest)
    );
    -- Ciphertext does not get smaller.
    ALTER TABLE ${entries} ALTER COLUMN value SET STORAGE EXTERNAL;
    CREATE TABLE ${leaders} (
      name text PRIMARY KEY,
      token bigint NOT NULL,
      pid integer NOT NULL,
      value text
    );
    CREATE TABLE ${meta} (format integer NOT NULL);
    INSERT INTO ${meta} (format) VALUES (${FORMAT});
  `
}
