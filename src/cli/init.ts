import { resolve } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { defaultDataDir, defaultSettingsFile } from '../apps/setup/layout.ts'
import { parsePort } from './pair.ts'

/** `keepwatch init`: makes the first server of a deployment. */
export function initCommand(): Command {
  return withPlaces(
    new Command('init')
      .description(
        'make settings, certificates and keys of the first server, and check the machine',
      )
      .option(
        '--database <url>',
        'that both servers of a pair share: postgresql://user:password@host/name (default: each has one of its own)',
      )
      .requiredOption('--name <name>', 'of this server: kw1', parseName)
      .requiredOption('--address <host>', 'name or address at which others reach this machine'),
  )
    .option('--console-host <address>', 'address at which the console listens (default all)')
    .option('--console-port <port>', 'port of the console (default 443)', parsePort)
    .option('--link-port <port>', 'port of the link (default 8450)', parsePort)
    .option('--console-cert <file>', 'PEM file of a public certificate, instead of a private one')
    .option('--console-key <file>', 'PEM file of its key')
    .option('--no-collector', 'without the collector inside: devices send to collectors elsewhere')
    .option('--force', 'write over settings that are there; go on after a failure', false)
    .action(async options => {
      const { initialize } = await import('../apps/setup/init.ts')
      const { finishUnit } = await import('./unit.ts')
      const { describeFindings } = await import('./findings.ts')
      if ((options.consoleCert === undefined) !== (options.consoleKey === undefined)) {
        throw new Error('--console-cert and --console-key go together')
      }
      const done = await initialize({
        ...options,
        data: resolve(options.data),
        consolePort: options.consolePort ?? 443,
        linkPort: options.linkPort ?? 8450,
        consoleTls:
          options.consoleCert === undefined
            ? undefined
            : { cert: resolve(options.consoleCert), key: resolve(options.consoleKey) },
      })
      const fit = done.written
      const how = fit
        ? finishUnit(options, { name: options.name, settings: done.layout.settings })
        : undefined
      if (options.json) {
        const { layout, url, findings } = done
        process.stdout.write(
          `${JSON.stringify({ ok: fit, settings: layout.settings, url, findings, start: how?.start ?? null })}\n`,
        )
      } else {
        process.stdout.write(describeFindings(done.findings))
        if (how) {
          process.stdout.write(`
${done.layout.settings} is written; keys and certificates are in ${done.layout.pki}.

  Start      ${how.start}
  Console    ${done.url}
  Log in     user admin, password ${done.password} (to be changed at the first log-in)
  A pair     keepwatch failover enable --secondary <second machine> --folder <shared folder>
`)
        }
      }
      if (!fit) {
        throw new Error(
          'nothing was started: mend what is marked FAILURE and say it again, or add --force',
        )
      }
    })
}

/** Where things are kept, and how they are run: the same for `init` and `join`. */
export function withPlaces(command: Command): Command {
  return command
    .option('--data <folder>', 'where the server keeps its data', defaultDataDir)
    .option(
      '--settings <file>',
      'settings file to write; the rest lies beside it',
      defaultSettingsFile,
    )
    .option('--systemd [folder]', 'write a unit for systemd too')
    .option('--user <name>', 'whom the server is to run as; it gets the rights that it needs')
    .option('--json', 'one line of JSON on standard output', false)
}

export function parseName(text: string): string {
  if (/^[a-z0-9][a-z0-9-]{0,15}$/.test(text)) return text
  throw new InvalidArgumentError('a name is lower-case letters, digits and hyphens, at most 16')
}
