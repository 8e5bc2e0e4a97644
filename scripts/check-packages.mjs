// Packs every public package as it would be published and uses the tarballs in a project outside the monorepo: metadata,
// READMEs, types, command line. Needs a build; asks the registry for other people's packages only.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { runnerImport } from 'vite'

const root = dirname(import.meta.dirname)
const require = createRequire(import.meta.url)
const license = await readFile(join(root, 'LICENSE'), 'utf8')
/** Nothing listens there: an `@lockstep` package that is not taken from its tarball fails the installation. */
const NOWHERE = 'http://127.0.0.1:9/'
const README_TIMEOUT_MS = 60_000
const SERVER_TIMEOUT_MS = 60_000

let failed = 0

async function check(name, body) {
  try {
    await body()
    console.log(`ok ${name}`)
    return true
  } catch (error) {
    failed++
    console.log(`not ok ${name}\n${String(error.message).replace(/^/gm, '  ')}`)
    return false
  }
}

function assert(condition, message) {
  if (!condition) throw new Error(message)
}

/** Resolves with what it printed; rejects with all of it when it fails or takes too long. */
async function run(command, args, { cwd = root, timeout = 150_000, env = {} } = {}) {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk) => (stdout += chunk))
  child.stderr.on('data', (chunk) => (stderr += chunk))
  let late = false
  const timer = setTimeout(() => {
    late = true
    child.kill('SIGKILL')
  }, timeout)
  const [code, signal] = await once(child, 'close')
  clearTimeout(timer)
  const problem = late ? `took longer than ${timeout / 1000} s` : `ended with ${signal ?? `exit code ${code}`}`
  assert(code === 0, `${command} ${args.join(' ')} ${problem}\n${stdout}${stderr}`)
  return stdout
}

async function publicPackages() {
  const folders = []
  for (const group of ['packages', 'apps']) {
    const entries = await readdir(join(root, group), { withFileTypes: true })
    for (const entry of entries) if (entry.isDirectory()) folders.push(join(root, group, entry.name))
  }
  const manifests = await Promise.all(folders.map((folder) => readFile(join(folder, 'package.json'), 'utf8')))
  return manifests
    .map((text, index) => ({ folder: folders[index], manifest: JSON.parse(text) }))
    .filter(({ manifest }) => !manifest.private)
    .map((each) => ({ ...each, name: each.manifest.name }))
}

/** Packs all of them at once; notes each one's tarball and the files in it. */
async function pack(packages, destination) {
  await mkdir(destination)
  const workspaces = packages.flatMap(({ name }) => ['--workspace', name])
  const report = await run('npm', [
    'pack',
    '--json',
    '--ignore-scripts',
    '--pack-destination',
    destination,
    ...workspaces,
  ])
  for (const { name, filename, files } of Object.values(JSON.parse(report))) {
    const packed = packages.find((each) => each.name === name)
    packed.tarball = join(destination, filename)
    packed.files = files.map(({ path }) => path)
  }
}

async function checkContents({ folder, manifest, files }) {
  for (const file of ['LICENSE', 'README.md', 'package.json']) assert(files.includes(file), `${file} is not packed`)
  assert((await readFile(join(folder, 'LICENSE'), 'utf8')) === license, 'LICENSE is not the one of the repository')
  const stray = files.filter((file) =>
    /\.test\.|(^|\/)(test|testdata|vectors|node_modules)\/|\.tsbuildinfo$/.test(file),
  )
  assert(stray.length === 0, `packed, but of no use to anyone: ${stray.join(', ')}`)
  for (const field of ['description', 'license', 'engines']) assert(manifest[field], `package.json has no ${field}`)
  for (const field of ['repository', 'homepage', 'bugs']) assert(!manifest[field], `package.json names a ${field}`)
  const scripts = Object.keys(manifest.scripts ?? {}).filter((name) => /install|prepare/.test(name))
  assert(scripts.length === 0, `it runs code where it is installed: ${scripts.join(', ')}`)
}

async function lint({ tarball }) {
  const { buffer, byteOffset, byteLength } = await readFile(tarball)
  const data = buffer.slice(byteOffset, byteOffset + byteLength)
  const { messages, pkg } = await publint({ pack: { tarball: data }, strict: true })
  assert(messages.length === 0, messages.map((message) => formatMessage(message, pkg, { color: false })).join('\n'))
}

async function install(packages, project) {
  const tarballs = Object.fromEntries(packages.map(({ name, tarball }) => [name, `file:${tarball}`]))
  await mkdir(project)
  await writeFile(
    join(project, 'package.json'),
    JSON.stringify({ name: 'consumer', private: true, type: 'module', dependencies: tarballs, overrides: tarballs }),
  )
  // Native modules are compiled on the way.
  await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', `--@lockstep:registry=${NOWHERE}`], {
    cwd: project,
    timeout: 400_000,
  })
}

/** The first js block, as a file of its own. */
async function runReadme({ folder, name, manifest }, project, env) {
  const readme = await readFile(join(folder, 'README.md'), 'utf8')
  const [, program] = /^```js\n(.*?)^```$/ms.exec(readme) ?? []
  assert(program, 'the README has no js block')
  const known = [name, ...Object.keys(manifest.dependencies ?? {})]
  for (const [, imported] of program.matchAll(/^(?:import|\}).*'(.+)'$/gm)) {
    const declared = imported.startsWith('node:') || known.some((each) => `${imported}/`.startsWith(`${each}/`))
    assert(declared, `the program imports ${imported}, which does not come with the package`)
  }
  const file = join(project, `${name.split('/')[1]}.readme.mjs`)
  await writeFile(file, program)
  const output = await run(process.execPath, [file], { cwd: project, timeout: README_TIMEOUT_MS, env })
  assert(output !== '', 'it printed nothing')
}

async function checkTypes({ name, manifest }, project) {
  const subpaths = Object.keys(manifest.exports).filter((path) => path !== './package.json')
  const lines = subpaths.map((path, index) => `import * as m${index} from '${name}${path.slice(1)}'\nvoid m${index}\n`)
  const file = join(project, `${name.split('/')[1]}.types.ts`)
  await writeFile(file, lines.join(''))
  const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules/@types')]
  await run(
    process.execPath,
    [
      join(dirname(require.resolve('typescript/package.json')), 'bin/tsc'),
      ...['--module', 'nodenext', '--target', 'es2023', '--strict', '--noEmit'],
      ...[...types, file],
    ],
    { cwd: project },
  )
}

/** `npx lockstep server -dev` as installed: starts, answers, and stops when told to. */
async function checkServer(project) {
  const args = ['lockstep', 'server', '-dev', '-dev-no-store-token', '-dev-listen-address=127.0.0.1:0']
  // A group of its own, because npx does not pass every signal on.
  const child = spawn('npx', ['--no-install', ...args], {
    cwd: project,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  // Its output ends when npx and the server are both gone.
  const gone = once(child, 'close')
  let late = false
  const timer = setTimeout(() => {
    late = true
    process.kill(-child.pid, 'SIGKILL')
  }, SERVER_TIMEOUT_MS)
  const printed = []
  let complaints = ''
  child.stderr.on('data', (chunk) => (complaints += chunk))
  try {
    let address
    for await (const line of createInterface({ input: child.stdout })) {
      printed.push(line)
      address = /VAULT_ADDR='(.*)'/.exec(line)?.[1]
      if (address) break
    }
    assert(address, `it did not start\n${printed.join('\n')}\n${complaints}`)
    const { status } = await fetch(`${address}/v1/sys/health`)
    assert(status === 200, `sys/health answered ${status}`)
  } finally {
    child.stdout.resume()
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, 'SIGTERM')
    await gone
    clearTimeout(timer)
  }
  assert(!late, `it did not start and stop within ${SERVER_TIMEOUT_MS / 1000} s`)
}

/** One at a time per worker; output stays whole because each check prints at its end. */
async function forEach(items, workers, body) {
  const queue = [...items]
  const work = async () => {
    for (let item = queue.shift(); item; item = queue.shift()) await body(item)
  }
  await Promise.all(Array.from({ length: workers }, work))
}

async function main(scratch) {
  const packages = await publicPackages()
  await pack(packages, join(scratch, 'tarballs'))
  for (const each of packages) {
    await check(`${each.name}: contents of the tarball`, () => checkContents(each))
    await check(`${each.name}: publint`, () => lint(each))
  }

  const project = join(scratch, 'project')
  if (!(await check('all tarballs install together', () => install(packages, project)))) return
  await check('npx lockstep server -dev', () => checkServer(project))

  const postgres = await startPostgres()
  const etcd = await startEtcd()
  const env = { ...postgres.env, ...etcd.env }
  try {
    await forEach(packages, 2, async (each) => {
      await check(`${each.name}: the README's program`, () => runReadme(each, project, env))
      await check(`${each.name}: types of every entry`, () => checkTypes(each, project))
    })
  } finally {
    await etcd.stop()
    await postgres.stop()
  }
}

/** What the README of storage-postgres needs, as the package's own tests have it; without the binaries it runs without. */
async function startPostgres() {
  const none = { env: {}, stop: async () => {} }
  let server
  await check('PostgreSQL for the READMEs', async () => {
    const { module } = await runnerImport(join(root, 'packages/storage-postgres/test/postgres-server.ts'))
    if (module.postgresBinaries() !== undefined) server = await module.startPostgres()
  })
  return server ? { env: { LOCKSTEP_PG_URL: server.url }, stop: () => server.stop() } : none
}

/** What the README of storage-etcd needs; without an etcd the check fails. */
async function startEtcd() {
  let server
  await check('etcd for the READMEs', async () => {
    const { module } = await runnerImport(join(root, 'packages/storage-etcd/test/etcd-server.ts'))
    server = await module.startEtcd()
  })
  return server
    ? { env: { LOCKSTEP_ETCD_ENDPOINTS: server.url }, stop: () => server.stop() }
    : { env: {}, stop: async () => {} }
}

const scratch = await mkdtemp(join(tmpdir(), 'lockstep-packages-'))
try {
  await main(scratch)
} finally {
  await rm(scratch, { recursive: true, force: true })
}
process.exit(failed > 0 ? 1 : 0)
