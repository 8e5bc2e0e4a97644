import { homedir } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import { run } from './cli/run.ts'
import { buildCore } from './compose.ts'

// V8 lets a small heap grow to several times what lives in it before it collects; a server that holds tokens and caches for weeks
// keeps less with a little more collecting.
setFlagsFromString('--heap-growing-percent=75')

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
