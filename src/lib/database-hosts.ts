/**
 * The hosts of a PostgreSQL URL: one, or several of which one takes writes at a time. The form is
 * that of libpq (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS).
 */
import { isIPv6 } from 'node:net'
import type { ClientConfig } from 'pg'

/** How to reach one host; made of text and numbers, so that it can be given to a thread. */
export interface DatabaseTarget extends ClientConfig {
  connectionString: string
  /** Name or address, without brackets; a folder if it begins with a slash. */
  host: string
  port: number
}

const example = 'postgresql://user:password@host1:5432,host2:5432/name'
const defaultPort = 5432
const maxHosts = 16

/** Whoever connects sets these itself, and a value in the URL would win over it. */
const ownParameters = [
  'application_name',
  'fallback_application_name',
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'query_timeout',
]

/**
 * One client configuration for each host of
 * `postgresql://user:password@h1:5432,h2,[2001:db8::1]:5433/name?sslmode=…`, in their order. User,
 * password and parameters are the same for all. `target_session_attrs` may be said and means nothing
 * more: always the host is wanted that takes writes.
 *
 * @throws Error that says what would be right; the password is not in it
 */
export function databaseTargets(url: string): DatabaseTarget[] {
  const parts = /^(postgres(?:ql)?:\/\/)([^/?#]*)(\/[^?#@]*)?(?:\?([^#]*))?$/.exec(url)
  if (!parts) {
    throw new Error(
      `the URL of the database must look like ${example}; in user and password @ is written %40, ` +
        ': %3A, / %2F, ? %3F, # %23, % %25',
    )
  }
  const [, scheme, authority = '', path = '', query = ''] = parts
  const at = authority.lastIndexOf('@')
  const login = at < 0 ? '' : `${encoded(authority.slice(0, at))}@`
  const parameters = new URLSearchParams(query)
  check(parameters)
  parameters.delete('target_session_attrs')
  const hosts = authority.slice(at + 1)
  const places = parameters.has('host') ? fromParameters(parameters, hosts) : fromAuthority(hosts)
  if (places.length > maxHosts) {
    throw new Error(`the URL of the database has ${places.length} hosts; at most ${maxHosts} do`)
  }
  return places.map(({ host, port }) => {
    parameters.set('host', host)
    parameters.set('port', `${port}`)
    return { connectionString: `${scheme}${login}${path}?${parameters}`, host, port }
  })
}

interface Place {
  host: string
  port: number
}

function fromAuthority(hosts: string): Place[] {
  // PostgreSQL's own rule: no host is this one.
  if (hosts === '') return [{ host: 'localhost', port: defaultPort }]
  return hosts.split(',').map(text => {
    const [, bracketed, name, port] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d*))?$/.exec(text) ?? []
    // What looks odd here may be the rest of a password, so it is not repeated.
    if (bracketed === undefined && name === undefined) {
      throw new Error(
        'the URL of the database has a host that cannot be read; it must be a name or an ' +
          'address, with or without :port, IPv6 in [brackets]',
      )
    }
    if (bracketed !== undefined && !isIPv6(bracketed)) {
      throw new Error(
        'the URL of the database has [brackets] with something else than an IPv6 address',
      )
    }
    return { host: bracketed ?? nameOf(name!), port: portOf(port) }
  })
}

/** `?host=h1,h2&port=5432,5433`, or one port for all; the way to name a folder of a socket. */
function fromParameters(parameters: URLSearchParams, authority: string): Place[] {
  if (authority !== '') {
    throw new Error('the URL of the database names its hosts twice: before the name and as host=')
  }
  const hosts = parameters.get('host')!.split(',')
  const ports = (parameters.get('port') ?? '').split(',')
  if (ports.length !== 1 && ports.length !== hosts.length) {
    throw new Error(
      `the URL of the database has ${hosts.length} hosts and ${ports.length} ports; it must have ` +
        'one port for each host, or one for all',
    )
  }
  return hosts.map((host, index) => ({
    host: nameOf(host),
    port: portOf(ports[ports.length === 1 ? 0 : index]),
  }))
}

function nameOf(text: string): string {
  const name = decoded(text)
  if (name === undefined || !(isIPv6(name) || /^(\/[^\0]*|[\p{L}\p{N}._-]+)$/u.test(name))) {
    throw new Error(
      `the URL of the database has a host that is neither a name nor an address; it must look like ${example}`,
    )
  }
  return name
}

function portOf(text: string | undefined): number {
  if (text === undefined || text === '') return defaultPort
  const port = Number(text)
  if (!/^\d+$/.test(text) || port < 1 || port > 65_535) {
    throw new Error('the URL of the database has a port that is not a number from 1 to 65535')
  }
  return port
}

function check(parameters: URLSearchParams) {
  const own = ownParameters.find(name => parameters.has(name))
  if (own) {
    throw new Error(
      `the URL of the database sets ${own}, which Keepwatch sets itself: leave it out`,
    )
  }
  const wanted = parameters.get('target_session_attrs') ?? 'read-write'
  if (!['read-write', 'primary', 'any'].includes(wanted)) {
    throw new Error(
      'the URL of the database has a target_session_attrs of a host that takes no writes; ' +
        'it must be read-write, or left out',
    )
  }
}

/** `pg` takes a % that encodes nothing for itself, but then misreads the others. */
function encoded(login: string): string {
  const text = login.replace(/%(?![0-9a-f]{2})/gi, '%25').replaceAll(' ', '%20')
  if (text.split(':').some(part => decoded(part) === undefined)) {
    throw new Error(
      'the URL of the database has a user or password that is not percent-encoded UTF-8; ' +
        'a % itself is written %25',
    )
  }
  return text
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
