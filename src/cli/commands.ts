import { Command } from 'commander'
import { SettingsError } from '../lib/settings.ts'
import { version } from '../lib/version.ts'
import { certificateCommand } from './certificate.ts'
import { collectorCommand } from './collector.ts'
import { doctorCommand } from './doctor.ts'
import { failoverCommand } from './failover.ts'
import { initCommand } from './init.ts'
import { installCommand } from './install.ts'
import { joinCommand } from './join.ts'
import { launchCommand } from './launch.ts'
import { pairCommand } from './pair.ts'
import { serverCommand } from './server.ts'
import { simulateCommand } from './simulate.ts'
import { statusCommand } from './status.ts'
import { upgradeCommand } from './upgrade.ts'
import { witnessCommand } from './witness.ts'

/** Carries out one command line; ends the process with 1 if it fails, with 2 if it is not understood. */
export async function run(args: string[]): Promise<void> {
  const program = new Command('keepwatch')
    .description('The network monitor that does not stop when one of its own servers does.')
    .version(version)
    // Options after the command belong to it: `launch` passes them on.
    .enablePositionalOptions()
    .showHelpAfterError('(keepwatch --help shows what there is)')
    .exitOverride()
  for (const command of commands()) program.addCommand(exiting(command))
  try {
    await program.parseAsync(args, { from: 'user' })
  } catch (error) {
    const { exitCode } = error as { exitCode?: number }
    if (exitCode !== undefined) process.exit(exitCode === 0 ? 0 : 2)
    const message = error instanceof SettingsError ? error.message : describe(error)
    process.stderr.write(`keepwatch: ${message}\n`)
    process.exit(1)
  }
}

/** All of them, in the order of the help. */
export function commands(): Command[] {
  return [
    pairCommand(),
    installCommand(),
    initCommand(),
    serverCommand(),
    failoverCommand(),
    joinCommand(),
    doctorCommand(),
    upgradeCommand(),
    statusCommand(),
    collectorCommand(),
    witnessCommand(),
    launchCommand(),
    certificateCommand(),
    simulateCommand(),
  ]
}

/** So that what is not understood ends the process here, with its code. */
function exiting(command: Command): Command {
  for (const inner of command.commands) exiting(inner)
  return command.exitOverride()
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return process.env.KEEPWATCH_DEBUG ? (error.stack ?? error.message) : error.message
}
