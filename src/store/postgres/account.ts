/**
 * The operating-system account that PostgreSQL runs under. An ordinary user runs it himself; root may
 * not (PostgreSQL refuses), so that it becomes the owner of the cluster, or the user `postgres`.
 */
import { execFile } from 'node:child_process'
import { chown, stat } from 'node:fs/promises'
import { promisify } from 'node:util'

const execute = promisify(execFile)
const deadlineMs = 10_000
const userName = 'postgres'

/** How to start a program under the account. */
export interface Account {
  /** The user and group that the files must belong to; undefined: whoever runs this process. */
  owner: { uid: number; gid: number } | undefined
  /** The command line that runs `program` under the account. */
  command(program: string, args: readonly string[]): { file: string; args: string[] }
  /** The same for a program that is to end (SIGINT) with the thread that starts it, however that ends. */
  boundCommand(program: string, args: readonly string[]): { file: string; args: string[] }
}

/** Root's rights that let a user pass folders closed to him (a checkout in /root), least first. */
const passages = [[], ['dac_read_search'], ['dac_override']] as const

/**
 * Chooses the account, gives it `folder`, and makes sure that it can run `program` and write into
 * `folder`.
 *
 * @throws if there is no such account, or it cannot reach one of the two
 */
export async function chooseAccount(
  folder: string,
  cluster: string,
  program: string,
): Promise<Account> {
  const setpriv = await has('setpriv')
  if (process.getuid?.() !== 0) {
    return {
      owner: undefined,
      command: plain,
      boundCommand: setpriv ? (file, args) => prefixed(['--pdeathsig', 'INT'], file, args) : plain,
    }
  }
  if (!setpriv) {
    throw new Error('as root, the embedded PostgreSQL needs setpriv (Debian: package util-linux)')
  }
  const owner = await ownerOf(cluster)
  await chown(folder, owner.uid, owner.gid)
  for (const rights of passages) {
    const options = privileges(owner, rights)
    const probe = ['-c', '"$1" --version && test -w "$2" && test -x "$2"', 'probe', program, folder]
    const { file, args } = prefixed(options, 'sh', probe)
    const reached = await execute(file, args, { timeout: deadlineMs }).then(
      () => true,
      () => false,
    )
    if (!reached) continue
    return {
      owner,
      command: (run, its) => prefixed(options, run, its),
      boundCommand: (run, its) => prefixed([...options, '--pdeathsig', 'INT'], run, its),
    }
  }
  throw new Error(
    `user ${owner.uid} (that PostgreSQL runs as, since root may not) cannot reach ${program} and ` +
      `${folder}: put them into folders that everybody may pass (mode 755), or run as an ordinary user`,
  )
}

function privileges(owner: { uid: number; gid: number }, rights: readonly string[]): string[] {
  const set = ['-all', ...rights.map(right => `+${right}`)].join(',')
  return [
    `--reuid=${owner.uid}`,
    `--regid=${owner.gid}`,
    '--clear-groups',
    `--bounding-set=${set}`,
    `--inh-caps=${set}`,
    `--ambient-caps=${set}`,
    // access(2), which initdb asks before it runs anything, minds ambient rights only with this.
    ...(rights.length > 0 ? ['--securebits=+no_setuid_fixup'] : []),
  ]
}

function prefixed(options: readonly string[], program: string, args: readonly string[]) {
  return { file: 'setpriv', args: [...options, program, ...args] }
}

function plain(program: string, args: readonly string[]) {
  return { file: program, args: [...args] }
}

async function has(program: string): Promise<boolean> {
  return execute(program, ['--version'], { timeout: deadlineMs }).then(
    () => true,
    () => false,
  )
}

/** Who owns the cluster; where there is none yet, the user `postgres`, created if missing. */
async function ownerOf(cluster: string): Promise<{ uid: number; gid: number }> {
  const existing = await stat(cluster).catch(() => undefined)
  if (existing !== undefined && existing.uid !== 0) return { uid: existing.uid, gid: existing.gid }
  const known = await lookUp()
  if (known) return known
  await execute(
    'useradd',
    ['--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin', userName],
    { timeout: deadlineMs },
  ).catch(error => {
    throw new Error(`the user ${userName} is missing and cannot be created: ${error.message}`)
  })
  const created = await lookUp()
  if (!created) throw new Error(`the user ${userName} was created but is not found`)
  return created
}

async function lookUp(): Promise<{ uid: number; gid: number } | undefined> {
  const ask = async (option: string) =>
    Number((await execute('id', [option, userName], { timeout: deadlineMs })).stdout)
  try {
    return { uid: await ask('-u'), gid: await ask('-g') }
  } catch {
    return undefined
  }
}
