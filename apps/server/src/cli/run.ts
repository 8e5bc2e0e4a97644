import { reasonOf } from '../startup-error.ts'
import { parseCommand } from './arguments.ts'
import { migrateCommand } from './migrate-command.ts'
import { type Surroundings, serverCommand } from './server-command.ts'
import { USAGE, VERSION_LINE } from './usage.ts'

async function failing(running: Promise<number>, code: number, { stderr }: Surroundings): Promise<number> {
  try {
    return await running
  } catch (error) {
    stderr(`lockstep: ${reasonOf(error)}\n`)
    return code
  }
}

/** Runs one command line (without node and script) and resolves with the exit code. */
export async function run(argv: readonly string[], around: Surroundings): Promise<number> {
  const command = parseCommand(argv)
  switch (command.name) {
    case 'version':
      around.stdout(`${VERSION_LINE}\n`)
      return 0
    case 'help':
      around.stdout(USAGE)
      return 0
    case 'usage':
      around.stderr(`lockstep: ${command.message}\n\n${USAGE}`)
      return 1
    case 'server':
      return failing(serverCommand(command.flags, around), 1, around)
    case 'migrate':
      return failing(migrateCommand(command.flags, around), 2, around)
  }
}
