export type { Cursor, Partition, PartitionId, ShippedClass, View, WalOperation, WalRecord } from './types.ts'
