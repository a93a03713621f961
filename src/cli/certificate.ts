import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Argument, Command } from 'commander'
import { writeWhole } from '../lib/files.ts'

const roles = ['server', 'collector', 'witness'] as const

/** `keepwatch certificate`: what parts on several machines need to trust each other. */
export function certificateCommand(): Command {
  return new Command('certificate')
    .description(
      'issue a certificate of the deployment’s own authority, which is made at first use',
    )
    .addArgument(new Argument('<role>', 'what it is for').choices(roles))
    .argument('<name>', 'name of the server, collector or witness, as in its settings')
    .argument('<hosts...>', 'names and addresses at which it is reached')
    .option('--folder <folder>', 'where the authority and the certificates are', 'pki')
    .action(
      async (
        role: (typeof roles)[number],
        name: string,
        hosts: string[],
        { folder }: { folder: string },
      ) => {
        const { openAuthority, writeIdentity } = await import('../lib/tls.ts')
        const authority = await openAuthority(folder)
        writeIdentity(folder, name, await authority.issue({ role, name, hosts }))
        const key = join(folder, 'deployment.key')
        if (!existsSync(key)) writeWhole(key, `${randomBytes(32).toString('base64')}\n`, 0o600)
        process.stdout.write(
          `${join(folder, name)}.crt and .key are made. Copy them with ${join(folder, 'ca.crt')} to the machine of ${name}${role === 'server' ? ', and deployment.key too' : ''}; ca.key stays here.\n`,
        )
      },
    )
}
