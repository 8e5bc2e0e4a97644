/** To be loaded with `--import` before anything else: plants the bug that `LOCKSTEP_PLANTED_BUG` names. */
import { register } from 'node:module'
import { MUTATIONS } from './mutations.ts'

const name = process.env.LOCKSTEP_PLANTED_BUG
const mutation = MUTATIONS.find((each) => each.name === name)
if (mutation === undefined) throw new Error(`LOCKSTEP_PLANTED_BUG: no planted bug is called ${JSON.stringify(name)}`)
register('./mutation-hooks.js', import.meta.url, { data: { mutation } })
