import { Command } from 'commander'
import { serverSettings } from '../apps/server/settings.ts'
import { readSettings } from '../lib/settings.ts'
import { runInForeground } from './foreground.ts'

/** `keepwatch server`: one server of a pair. */
export function serverCommand(): Command {
  return new Command('server')
    .description('run one server from its settings file')
    .requiredOption('--settings <file>', 'the settings file (YAML)')
    .action(({ settings }: { settings: string }) => runServer(settings))
}

/** Runs it until the process is asked to stop. */
export async function runServer(file: string): Promise<void> {
  const { createServer } = await import('../apps/server/server.ts')
  const server = createServer(readSettings(file, serverSettings), file)
  await runInForeground(server, () => ({ url: server.url }))
}
