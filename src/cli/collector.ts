import { Command } from 'commander'
import { readSettings } from '../lib/settings.ts'
import { runInForeground } from './foreground.ts'

/** `keepwatch collector`: receives telemetry at a site and delivers it to the servers. */
export function collectorCommand(): Command {
  return new Command('collector')
    .description('run a collector from its settings file')
    .requiredOption('--settings <file>', 'the settings file (YAML)')
    .action(async ({ settings: file }: { settings: string }) => {
      const { collectorFileSettings, createCollectorProgram } = await import('../apps/collector.ts')
      const collector = createCollectorProgram(readSettings(file, collectorFileSettings), file)
      await runInForeground(collector, () => ({ ports: collector.ports }))
    })
}
