import { resolve } from 'node:path'
import { Command } from 'commander'
import { defaultHome, type Home } from '../apps/upgrade/home.ts'

/** `keepwatch install`: puts a version where it can be run from, and upgraded. */
export function installCommand(): Command {
  return withHome(
    new Command('install')
      .description('install a version of the program beside those that are there')
      .argument('[source]', 'folder, keepwatch-x.y.z.tgz or keepwatch@x.y.z (default: what runs)'),
  )
    .option('--use', 'run it at the next start, without an upgrade of the pair', false)
    .action(async (source: string | undefined, options: { home: string; use: boolean }) => {
      const { openHome } = await import('../apps/upgrade/home.ts')
      const { installVersion } = await import('../apps/upgrade/install.ts')
      const home = openHome(resolve(options.home))
      const version = await installVersion(home, source, say)
      const before = home.current()
      if (before === undefined || options.use) home.settle(version)
      say(describe(home, version, before))
    })
}

/** Where the versions of the program are kept. */
export function withHome(command: Command): Command {
  return command.option('--home <folder>', 'where versions are installed', defaultHome)
}

function describe(home: Home, version: string, before: string | undefined): string {
  const program = `${home.path}/bin/keepwatch`
  if (before === undefined) {
    return `${program} runs it. As a command: ln -s ${program} /usr/local/bin/keepwatch`
  }
  const current = home.current()
  if (current !== version) {
    return `${program} goes on with ${current}; a pair changes its version with keepwatch upgrade`
  }
  return before === version ? `${program} runs it` : `${program} runs it: restart the server now`
}

/** Progress goes beside the answer. */
function say(text: string) {
  process.stderr.write(`${text}\n`)
}
