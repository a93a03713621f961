/**
 * `npm run build [-- folder]`: compiles the sources and the console into what the published package
 * holds, in `dist` or the folder.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { prepare, root } from './prepare.mjs'

await prepare()
const [folder] = process.argv.slice(2)
const dist = folder === undefined ? join(root, 'dist') : resolve(folder)
rmSync(dist, { recursive: true, force: true })
const { status } = spawnSync(
  join(root, 'node_modules', '.bin', 'tsc'),
  ['-p', join(root, 'tsconfig.build.json'), '--outDir', dist],
  { stdio: 'inherit' },
)
if (status !== 0) process.exit(1)
// Read at run time, so the compiler does not know of them.
cpSync(join(root, 'src/store/postgres/migrations'), join(dist, 'store/postgres/migrations'), {
  recursive: true,
})
process.stdout.write(`compiled into ${dist}\n`)
