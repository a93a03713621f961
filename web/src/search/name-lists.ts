/** Lists of names as people write them: a line an entry, its parts separated by commas. */
import type { AnswerOf } from '../api/hooks.ts'

export type Network = AnswerOf<'getNetworks'>['networks'][number]
export type Application = AnswerOf<'getApplications'>['applications'][number]

/** The entries of a text, or what is wrong with its first wrong line. */
export type Parsed<T> = { entries: T[] } | { line: number; wrong: string }

const protocols: Record<string, number> = { tcp: 6, udp: 17, sctp: 132 }
const names = new Map(Object.entries(protocols).map(([name, number]) => [number, name]))

export function networksText(networks: readonly Network[]): string {
  return networks
    .map(({ prefix, name, site }) => [prefix, name, site].filter(Boolean).join(', '))
    .join('\n')
}

/** `10.0.0.0/8, office, Berlin`; the site may be left out. */
export function parseNetworks(text: string): Parsed<Network> {
  return parseLines(text, ([prefix = '', name = '', site = '', ...more]) => {
    if (!/^[\d.]+\/\d{1,2}$|^[\da-f:.]*:[\da-f:.]*\/\d{1,3}$/i.test(prefix)) {
      return `"${prefix}" must look like 10.0.0.0/8 or 2001:db8::/32`
    }
    if (name === '' || more.length > 0) return 'must be: prefix, name, site'
    return { prefix, name, site }
  })
}

export function applicationsText(applications: readonly Application[]): string {
  return applications
    .map(({ protocol, port, name }) => `${names.get(protocol) ?? protocol}/${port}, ${name}`)
    .join('\n')
}

/** `tcp/8123, our database`; the protocol is a name or a number. */
export function parseApplications(text: string): Parsed<Application> {
  return parseLines(text, ([service = '', name = '', ...more]) => {
    const [, written = '', port = ''] = /^(\w+)\/(\d{1,5})$/.exec(service) ?? []
    const protocol = protocols[written.toLowerCase()] ?? Number(written || Number.NaN)
    if (!(protocol <= 255) || Number(port) > 65_535 || port === '') {
      return `"${service}" must look like tcp/443 or 132/2905`
    }
    if (name === '' || more.length > 0) return 'must be: protocol/port, name'
    return { protocol, port: Number(port), name }
  })
}

/** Empty lines, and those that begin with #, say nothing. */
function parseLines<T extends object>(
  text: string,
  parse: (parts: string[]) => T | string,
): Parsed<T> {
  const entries: T[] = []
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '' || line.trim().startsWith('#')) continue
    const entry = parse(line.split(',').map(part => part.trim()))
    if (typeof entry === 'string') return { line: index + 1, wrong: entry }
    entries.push(entry)
  }
  return { entries }
}
