/** What one cluster port speaks, told apart by ALPN (RFC 7301). */
export const ALPN = {
  performance: 'replication_v1',
  dr: 'replication_dr_v1',
  requestForwarding: 'req_fw_sb-act_v1',
} as const

export type Alpn = (typeof ALPN)[keyof typeof ALPN]

export const DEFAULT_CLUSTER_PORT = 8201
