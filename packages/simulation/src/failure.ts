/** An invariant that did not hold. */
export class SimulationFailure extends Error {
  override readonly name = 'SimulationFailure'
  readonly invariant: string
  constructor(invariant: string, detail: string) {
    super(`${invariant}: ${detail}`)
    this.invariant = invariant
  }
}
