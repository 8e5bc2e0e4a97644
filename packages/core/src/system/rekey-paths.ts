/**
 * Rekeying for callers with a token: OpenBao's paths beside Vault's older ones, which the HTTP layer serves without a token and an
 * envelope, and the copies of encrypted shares.
 */
import { field, type Path, path } from '@lockstep/backend'
import type { RekeyAction } from '../seal-life-cycle/rekey.ts'
import type { Rekeying } from '../seal-life-cycle/rekeying.ts'
import type { RekeyTarget } from '../seal-life-cycle/share-backup.ts'

const ROTATIONS: readonly [RekeyTarget, string][] = [
  ['barrier', 'rotate/root'],
  ['recovery', 'rotate/recovery'],
]

const BACKUPS: readonly [RekeyTarget, string][] = [
  ['barrier', 'rekey/backup'],
  ['barrier', 'rotate/root/backup'],
  ['recovery', 'rekey/recovery-key-backup'],
  ['recovery', 'rekey-recovery-key/backup'],
  ['recovery', 'rotate/recovery/backup'],
]

const share = {
  key: field.string({ description: 'One key share, in hex or base64.' }),
  nonce: field.string({ description: 'Of the attempt, or of its verification.' }),
}

export function rekeyPaths(rekeying: Rekeying): Path[] {
  const run = (target: RekeyTarget, action: RekeyAction) => async (request: { data: Record<string, unknown> }) => {
    const data = await rekeying.run(target, action, request.data)
    return data && { data }
  }
  const rotations = ROTATIONS.flatMap(([target, base]) => [
    path(`${base}/init`, {
      operations: { read: run(target, 'status'), update: run(target, 'start'), delete: run(target, 'cancel') },
      help: 'A new key for new holders of shares: state, start and end of the attempt.',
    }),
    path(`${base}/update`, {
      fields: share,
      operations: { update: run(target, 'update') },
      help: 'A share of the present key.',
    }),
    path(`${base}/verify`, {
      operations: {
        read: run(target, 'verify-status'),
        update: run(target, 'verify'),
        delete: run(target, 'verify-restart'),
      },
      help: 'A share of the new key, to show that its holders have it.',
    }),
  ])
  const backups = BACKUPS.map(([target, name]) =>
    path(name, {
      operations: {
        read: async () => ({ data: await rekeying.backup(target) }),
        delete: async () => {
          await rekeying.deleteBackup(target)
          return undefined
        },
      },
      help: 'Copies of key shares, encrypted to the PGP keys of their holders.',
    }),
  )
  return [...rotations, ...backups]
}
