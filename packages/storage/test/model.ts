export { modelList, modelScan, type State } from '../src/compliance/model-state.ts'
