/** What a node does for its standbys while it leads. */
export interface Leading {
  /** To be published with the leader lock once services run. */
  advertisement: string
  stop(): Promise<void>
}
