/**
 * Ten bugs, each a change of the compiled product that a tired programmer could have made. Every text must occur exactly once in its
 * file; `test/mutations.test.ts` and the loader see to that.
 */
export interface Edit {
  /** From the folder of all packages. */
  file: string
  find: string
  replace: string
}

export interface Mutation {
  name: string
  edits: readonly Edit[]
}

const one = (name: string, file: string, find: string, replace: string): Mutation => ({
  name,
  edits: [{ file, find, replace }],
})

export const MUTATIONS: readonly Mutation[] = [
  one(
    'answer before the write is durable',
    'storage/dist/group-commit.js',
    'await this.#engine.write(operations.length === 0 ? own : own.concat(operations));',
    'void this.#engine.write(operations.length === 0 ? own : own.concat(operations)).catch(() => {});',
  ),
  one(
    'tombstone not logged',
    'replication-driver/dist/commit-planner.js',
    'shipped.push({ partition: parsePartitionId(partition), mountPath, key, value: undefined });',
    'if (placement === undefined || value !== undefined) shipped.push({ partition: parsePartitionId(partition), mountPath, key, value: undefined });',
  ),
  one(
    'log trimmed one record too far',
    'replication-driver/dist/log-trimmer.js',
    'const acknowledged = () => (consumers.slowest()?.index ?? -1) + 1;',
    'const acknowledged = () => (consumers.slowest()?.index ?? -1) + 2;',
  ),
  one(
    'local part of a shared mount classed as replicated',
    'storage-classes/dist/mount.js',
    "(isLocal(key, start) ? 'local' : 'replicated')",
    "(isLocal(key, start) ? 'replicated' : 'replicated')",
  ),
  one(
    'filter asked about the path a record was written under',
    'replication/dist/primary/shipping.js',
    'return view.ships(partition, view.mountPathOf(partition.mount) ?? mountPath);',
    'return view.ships(partition, mountPath);',
  ),
  one(
    'forest not updated on a deletion',
    'replication-driver/dist/commit-groups.js',
    'forest.remove(partition, keyId);',
    ';',
  ),
  one(
    'position stored before the entries, in a write of its own',
    'replication-driver/dist/receiver-session.js',
    'await store.apply(changes, new Map([[positionKey, encodePosition(position)]]));',
    'await store.apply([], new Map([[positionKey, encodePosition(position)]])); await store.apply(changes, new Map());',
  ),
  {
    name: 'epoch not checked by either end',
    edits: [
      { file: 'replication/dist/primary/handshake.js', find: 'if (hello.epoch > epoch) {', replace: 'if (false) {' },
      { file: 'replication/dist/secondary/handshake.js', find: 'if (epoch >= position.epoch)', replace: 'if (true)' },
    ],
  },
  {
    name: 'resume one record late',
    edits: [
      {
        file: 'replication/dist/primary/streamer.js',
        find: 'after: position.index, maxBytes',
        replace: 'after: position.index + (started ? 0 : 1), maxBytes',
      },
      {
        file: 'replication/dist/primary/streamer.js',
        find: 'result.records[0].index !== position.index + 1',
        replace: 'false',
      },
    ],
  },
  one(
    'withheld partitions not purged',
    'replication/dist/secondary/diff-comparison.js',
    "findings.superfluous({ partition, path: '' });",
    ';',
  ),
]
