import { resolve } from 'node:path'
import { Command } from 'commander'
import { parseName, withPlaces } from './init.ts'
import { parsePort } from './pair.ts'

/** `keepwatch join`: makes this machine the second server of a pair. */
export function joinCommand(): Command {
  return withPlaces(
    new Command('join')
      .description(
        'fetch certificates and settings from the first server, and start as its standby',
      )
      .argument('<url>', 'console of the first server')
      .requiredOption('--token <token>', 'what `keepwatch failover enable` printed')
      .option('--name <name>', 'of this server (default: made of the host name)', parseName)
      .option(
        '--address <host>',
        'at which the first reaches this machine (default: as it was enabled for)',
      ),
  )
    .option(
      '--console-host <address>',
      'address at which the console listens (default: as on the first)',
    )
    .option('--console-port <port>', 'port of the console (default: as on the first)', parsePort)
    .option('--link-port <port>', 'port of the link (default: as on the first)', parsePort)
    .option('--no-collector', 'without the collector inside (default: as on the first)')
    .option('--no-start', 'write the files and say how to start it')
    .option('--force', 'start although a check fails', false)
    .action(async (url: string, options) => {
      const { join } = await import('../apps/setup/join.ts')
      const { checkServer } = await import('./doctor.ts')
      const { describeFindings } = await import('./findings.ts')
      const { finishUnit } = await import('./unit.ts')
      const { isFit } = await import('../failover/preflight/finding.ts')
      // Standard output stays for the answer.
      const say = (text: string) => process.stderr.write(text)
      const joined = await join({ ...options, url, data: resolve(options.data) })
      const { settings } = joined.layout
      const findings = await checkServer(settings, joined.primary)
      const fit = isFit(findings)
      if (options.json) {
        process.stdout.write(
          `${JSON.stringify({ ok: fit, settings, name: joined.name, url: joined.url, findings })}\n`,
        )
      } else say(describeFindings(findings))
      if (!fit && !options.force) {
        throw new Error(
          'not started: mend what is marked FAILURE and run the same line again, or add --force',
        )
      }
      const { start } = finishUnit(options, { name: joined.name, settings })
      if (!options.start || options.systemd !== undefined) {
        if (!options.json)
          process.stdout.write(`\n  Start      ${start}\n  Console    ${joined.url}\n`)
        return
      }
      say(`\n${joined.name} starts as standby; its console is ${joined.url}\n`)
      const { homeOf } = await import('../apps/upgrade/home.ts')
      const home = homeOf(import.meta.filename)
      if (home !== undefined) {
        const { launch } = await import('./launch.ts')
        return launch(home, ['server', '--settings', settings])
      }
      const { runServer } = await import('./server.ts')
      await runServer(settings)
    })
}
