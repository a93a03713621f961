import { Command } from 'commander'
import { readSettings } from '../lib/settings.ts'
import { runInForeground } from './foreground.ts'

/** `keepwatch witness`: votes on which server of a replicated pair is active, and does nothing else. */
export function witnessCommand(): Command {
  return new Command('witness')
    .description('run a witness from its settings file: a vote, and nothing else')
    .requiredOption('--settings <file>', 'the settings file (YAML)')
    .action(async ({ settings: file }: { settings: string }) => {
      const { createWitness, witnessSettings } = await import('../apps/witness.ts')
      const witness = createWitness(readSettings(file, witnessSettings), file)
      await runInForeground(witness, () => ({ votesFor: witness.state() }))
    })
}
