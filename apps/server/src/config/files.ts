/** From paths to parsed blocks: files as they are, directories as their .hcl and .json files in name order. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { HclError, parseHcl } from '@lockstep/hcl'
import { ConfigError } from './config-error.ts'
import { type Section, section } from './section.ts'

const MAX_FILE_BYTES = 1024 * 1024

export async function readSections(paths: readonly string[]): Promise<Section[]> {
  const files = (await Promise.all(paths.map(filesOf))).flat()
  return Promise.all(files.map(readSection))
}

async function filesOf(path: string): Promise<string[]> {
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError(`${path}: cannot be read (${error.code})`)
  })
  if (!info.isDirectory()) return [path]
  const names = (await readdir(path)).filter((name) => /\.(?:hcl|json)$/.test(name) && !name.startsWith('.')).sort()
  if (names.length === 0) throw new ConfigError(`${path}: the directory has no .hcl or .json file`)
  return names.map((name) => join(path, name))
}

async function readSection(file: string): Promise<Section> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    throw new ConfigError(`${file}: cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
  try {
    return section(await parseHcl(text, { maxBytes: MAX_FILE_BYTES }), file)
  } catch (error) {
    if (error instanceof HclError) throw new ConfigError(`${file}: ${withPosition(error)}`)
    throw error
  }
}

function withPosition({ message, line, column }: HclError): string {
  return line === undefined || message.startsWith('At ') ? message : `line ${line}, column ${column}: ${message}`
}
