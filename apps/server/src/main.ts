import { homedir } from 'node:os'
import { run } from './cli/run.ts'
import { buildCore } from './compose.ts'

const code = await run(process.argv.slice(2), {
  environment: process.env,
  home: homedir(),
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  signals: process,
  buildCore,
})
// A core that left a timer behind must not keep a stopped server alive.
process.exit(code)
