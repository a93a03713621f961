/** Questions to the name servers of a zone, each with a deadline. */
import { lookup, Resolver } from 'node:dns/promises'
import { isIP, isIPv6 } from 'node:net'

/** A name server as it is asked. */
export interface NameServer {
  /** As people know it. */
  name: string
  address: string
  port: number
}

const defaultPort = 53
const tryMs = 600
const tries = 2
/** A resolver of the operating system may take much longer than anybody wants to wait. */
const lookupDeadlineMs = 2000
/** More name servers than that are not asked. */
const mostServers = 8
/** There is no such name, or it has no record of this type. */
const nothing = new Set(['ENODATA', 'ENOTFOUND'])

/** `192.0.2.53`, `ns1.example.net:5353`, `2001:db8::53`, `[2001:db8::53]:5353` */
export function parseServer(text: string): { host: string; port: number } {
  if (isIP(text) !== 0) return { host: text, port: defaultPort }
  const bracketed = /^\[([^\]]+)\](?::(\d+))?$/.exec(text)
  const [host = text, port] = bracketed ? bracketed.slice(1) : text.split(':')
  return { host, port: port === undefined ? defaultPort : Number(port) }
}

/** @throws Error if it has no address */
export async function findServer(text: string): Promise<NameServer> {
  const { host, port } = parseServer(text)
  return { name: host, port, address: isIP(host) !== 0 ? host : await addressOf(host) }
}

async function addressOf(host: string): Promise<string> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const message = `the address of the name server ${host} was not found in ${lookupDeadlineMs} ms`
    timer = setTimeout(() => reject(new Error(message)), lookupDeadlineMs)
  })
  try {
    return (await Promise.race([lookup(host), late])).address
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new Error(code === 'ENOTFOUND' ? `there is no name server ${host}` : message)
  } finally {
    clearTimeout(timer)
  }
}

/** The zone that a name lies in: the first of it and the names above it that has an SOA record. */
export async function findZone(name: string, server: NameServer): Promise<string> {
  const labels = name.split('.')
  for (let from = 0; from < labels.length; from++) {
    const zone = labels.slice(from).join('.')
    if ((await ask(server, resolver => resolver.resolveSoa(zone))) !== undefined) return zone
  }
  throw new Error(`${described(server)} knows no zone in which ${name} lies: name it as zone`)
}

/** The addresses of a name as this server answers, in order. */
export async function askAddresses(name: string, server: NameServer): Promise<string[]> {
  const [four, six] = await Promise.all([
    ask(server, resolver => resolver.resolve4(name)),
    ask(server, resolver => resolver.resolve6(name)),
  ])
  return [...(four ?? []), ...(six ?? [])].toSorted()
}

/** The text records of a name, each as the strings that it consists of. */
export async function askTexts(name: string, server: NameServer): Promise<string[][]> {
  return (await ask(server, resolver => resolver.resolveTxt(name))) ?? []
}

/** The other name servers of a zone, on the port of the primary. */
export async function findOthers(zone: string, primary: NameServer): Promise<NameServer[]> {
  const names = (await ask(primary, resolver => resolver.resolveNs(zone))) ?? []
  const found = await Promise.all(
    names.slice(0, mostServers).map(async name => {
      const known = await askAddresses(name, primary).catch(() => [])
      const addresses = known.length > 0 ? known : [await addressOf(name).catch(() => undefined)]
      return addresses.map(address => ({ name, address, port: primary.port }))
    }),
  )
  const asked = new Set([primary.address])
  return found.flat().filter((server): server is NameServer => {
    if (server.address === undefined || asked.has(server.address)) return false
    asked.add(server.address)
    return true
  })
}

/** `ns2.example.net (192.0.2.54)` */
export function described({ name, address }: NameServer): string {
  return name === address ? address : `${name} (${address})`
}

/** @returns undefined if there is no such record @throws Error with the name server and what it did */
async function ask<Answer>(
  server: NameServer,
  question: (resolver: Resolver) => Promise<Answer>,
): Promise<Answer | undefined> {
  // A new one each time: it remembers nothing.
  const resolver = new Resolver({ timeout: tryMs, tries })
  const { address, port } = server
  resolver.setServers([isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`])
  const late = setTimeout(() => resolver.cancel(), 2 * tries * tryMs)
  try {
    return await question(resolver)
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    if (nothing.has(code)) return undefined
    throw new Error(`the name server ${described(server)} ${failures[code] ?? `says ${code}`}`)
  } finally {
    clearTimeout(late)
  }
}

const failures: Record<string, string> = {
  ECONNREFUSED: 'refuses the connection',
  ETIMEOUT: 'does not answer',
  ECANCELLED: 'does not answer',
  EREFUSED: 'refuses to answer for this zone',
  ESERVFAIL: 'has an error (SERVFAIL)',
}
