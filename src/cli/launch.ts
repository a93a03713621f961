import { resolve } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { runInForeground } from './foreground.ts'

const usualTrialSeconds = 180

/** `keepwatch launch`: what a service manager starts; runs the current version and changes it. */
export function launchCommand(): Command {
  return new Command('launch')
    .description('run the current version of a command, and change versions when it asks for it')
    .requiredOption('--home <folder>', 'where the versions are installed')
    .option(
      '--trial-seconds <seconds>',
      'until a new version must be ready to do its work, or it is given up',
      parseSeconds,
      usualTrialSeconds,
    )
    .argument('<command...>', 'the command to run, for example: server --settings FILE')
    .passThroughOptions()
    .action((args: string[], { home, trialSeconds }: { home: string; trialSeconds: number }) =>
      launch(resolve(home), args, trialSeconds),
    )
}

/** Runs the current version of a command until the process is asked to stop. */
export async function launch(home: string, args: string[], trialSeconds = usualTrialSeconds) {
  const { openHome } = await import('../apps/upgrade/home.ts')
  const { createLauncher } = await import('../apps/upgrade/launcher.ts')
  const launcher = createLauncher(
    { home: openHome(home), say: line => process.stderr.write(`${line}\n`) },
    { args, trialMs: trialSeconds * 1000 },
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
}

function parseSeconds(text: string): number {
  const seconds = Number(text)
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= 250) return seconds
  throw new InvalidArgumentError('must be a whole number of seconds from 1 to 250')
}
