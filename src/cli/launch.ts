import { resolve } from 'node:path'
import { Command } from 'commander'
import { runInForeground } from './foreground.ts'

/** `keepwatch launch`: what a service manager starts; runs the current version and changes it. */
export function launchCommand(): Command {
  return new Command('launch')
    .description('run the current version of a command, and change versions when it asks for it')
    .requiredOption('--home <folder>', 'where the versions are installed')
    .argument('<command...>', 'the command to run, for example: server --settings FILE')
    .passThroughOptions()
    .action(async (args: string[], { home }: { home: string }) => {
      const { openHome } = await import('../apps/upgrade/home.ts')
      const { createLauncher } = await import('../apps/upgrade/launcher.ts')
      const launcher = createLauncher(
        { home: openHome(resolve(home)), say: line => process.stderr.write(`${line}\n`) },
        { args, trialMs: 180_000 },
      )
      await runInForeground(
        {
          async start() {
            await launcher.start()
            launcher.ended.catch(error => {
              process.stderr.write(`keepwatch: ${error.message}\n`)
              process.exit(1)
            })
          },
          stop: launcher.stop,
        },
        () => ({}),
      )
    })
}
