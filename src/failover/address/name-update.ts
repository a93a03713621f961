/**
 * Changes what a name leads to, in one message (RFC 2136) that the name server carries out whole or
 * not at all, signed with the zone's key (RFC 8945), by the program `nsupdate`.
 */
import { spawn } from 'node:child_process'
import { isIPv6 } from 'node:net'
import type { VirtualName } from './address.ts'
import { described, type NameServer } from './name-servers.ts'

export interface NameUpdate {
  name: string
  zone: string
  /** The primary, which takes updates. */
  server: NameServer
  ttl: number
  tsig: VirtualName['tsig']
  /** What the name shall lead to. */
  addresses: readonly string[]
  /** Whose it is from now on. */
  owner: { term: number; server: string }
  /** The fence as it was read; the update is refused if it has changed since. */
  read: readonly (readonly string[])[]
}

export type UpdateOutcome =
  | { outcome: 'done' }
  /** Somebody else has changed it since the fence was read. */
  | { outcome: 'changed' }
  | { outcome: 'failed'; reason: string }

const deadlineSeconds = 3
const keptBytes = 4096

/** Where the fence of a name is kept, beside its addresses and not among its other text records. */
export function fenceName(name: string): string {
  return `_keepwatch.${name}`
}

/** The highest term that the fence names, and whose; undefined if it names none. */
export function ownerIn(
  texts: readonly (readonly string[])[],
): { term: number; server: string } | undefined {
  const owners = texts.flatMap(strings => {
    const [, term, server] = /^term=(\d+) server=(.*)$/.exec(strings.join('')) ?? []
    return term === undefined ? [] : [{ term: Number(term), server: server! }]
  })
  return owners.toSorted((one, other) => other.term - one.term)[0]
}

/**
 * The commands for nsupdate.
 * @throws Error if a part of it could not be told from a command
 */
export function updateScript(update: NameUpdate): string {
  const { name, zone, server, ttl, tsig, addresses, owner, read } = update
  const fence = `${fenceName(name)}.`
  const strings = (texts: readonly string[]) => texts.map(quoted).join(' ')
  const text = [`term=${owner.term} server=${owner.server}`]
  const words = [name, zone, server.address, ...addresses, tsig?.name, tsig?.algorithm]
  for (const word of words) {
    if (word !== undefined && !/^[\w.:/-]+$/.test(word)) throw new Error(`not a name: ${word}`)
  }
  if (tsig !== undefined && !/^[A-Za-z0-9+/]+=*$/.test(tsig.secret)) {
    throw new Error(`the secret of the key ${tsig.name} is not base64`)
  }
  return [
    `server ${server.address} ${server.port}`,
    `zone ${zone}.`,
    ...(tsig ? [`key ${tsig.algorithm}:${tsig.name} ${tsig.secret}`] : []),
    ...(read.length === 0
      ? [`prereq nxrrset ${fence} TXT`]
      : read.map(texts => `prereq yxrrset ${fence} TXT ${strings(texts)}`)),
    `update delete ${name}. A`,
    `update delete ${name}. AAAA`,
    ...addresses.map(one => `update add ${name}. ${ttl} ${isIPv6(one) ? 'AAAA' : 'A'} ${one}`),
    `update delete ${fence} TXT`,
    `update add ${fence} ${ttl} TXT ${strings(text)}`,
    'send',
    '',
  ].join('\n')
}

function quoted(text: string): string {
  return `"${text.replaceAll(/["\\]/g, '\\$&')}"`
}

/** Never throws; an abort ends it at once, whatever has become of the message. */
export async function updateName(
  update: NameUpdate,
  signal: AbortSignal,
  program = 'nsupdate',
): Promise<UpdateOutcome> {
  let script: string
  try {
    script = updateScript(update)
  } catch (error) {
    return { outcome: 'failed', reason: (error as Error).message }
  }
  // The secret goes through a pipe: a command line and an environment can be read by others.
  return new Promise(resolve => {
    const child = spawn(program, ['-v', '-t', String(deadlineSeconds)], {
      stdio: ['pipe', 'ignore', 'pipe'],
    })
    let said = ''
    const kill = () => child.kill('SIGKILL')
    const late = setTimeout(kill, (deadlineSeconds + 1) * 1000)
    if (signal.aborted) kill()
    signal.addEventListener('abort', kill, { once: true })
    const settle = (outcome: UpdateOutcome) => {
      clearTimeout(late)
      signal.removeEventListener('abort', kill)
      resolve(outcome)
    }
    child.stderr.on('data', chunk => {
      said = `${said}${chunk}`.slice(0, keptBytes)
    })
    child.stdin.on('error', () => {}).end(script)
    child.once('error', (error: NodeJS.ErrnoException) => {
      const missing = 'nsupdate is missing: install the package bind9-dnsutils'
      const reason = error.code === 'ENOENT' ? missing : error.message
      settle({ outcome: 'failed', reason })
    })
    child.once('close', code => {
      if (code === 0) settle({ outcome: 'done' })
      else if (/\b[NY]XRRSET\b/.test(said)) settle({ outcome: 'changed' })
      else settle({ outcome: 'failed', reason: explained(said, update) })
    })
  })
}

/** What the name server's refusal means, and what would be right. */
function explained(said: string, { server, zone, name, tsig }: NameUpdate): string {
  const where = described(server)
  const key = tsig ? `the key ${tsig.name}` : 'an update without a key'
  if (/BADSIG/.test(said)) {
    return `${where} refuses the signature of ${key}: its secret or algorithm is another there`
  }
  if (/BADKEY/.test(said)) return `${where} does not know ${key}`
  if (/BADTIME/.test(said)) {
    return `${where} refuses the signature: its clock and this server's differ by minutes`
  }
  if (/REFUSED/.test(said)) {
    const policy = `grant … subdomain ${name}. A AAAA TXT`
    return `${where} does not allow ${key} to change ${name}: its update-policy needs ${policy}`
  }
  if (/NOTAUTH|NOTZONE/.test(said)) return `${where} is not the primary of the zone ${zone}`
  if (/Communication with|timed out|connection refused/i.test(said)) {
    return `${where} cannot be reached for an update`
  }
  return `${where}: ${said.trim().replaceAll(/\s*\n\s*/g, '; ') || 'nsupdate was ended'}`
}
