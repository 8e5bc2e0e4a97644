export { SimulationFailure } from './failure.ts'
export { type Outcome, simulate } from './simulate.ts'
