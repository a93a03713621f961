/**
 * Where a standby sends whoever should talk to the active, when no address moves between them. Pure.
 */

export interface Asked {
  method: string
  /** Path and query. */
  url: string
  accept: string | undefined
  /** Set by browsers for what a script of a page asks. */
  origin: string | undefined
}

/** With this in the query, a standby shows its own console. */
const stayHere = 'here'

/**
 * A person who opens a page goes to the same page of the active. Scripts of the console are not
 * sent anywhere: they know both servers.
 *
 * @returns the URL to go to; undefined: the answer is here
 */
export function pageOfActive(asked: Asked, activeConsole: string | null): string | undefined {
  const { method, url, accept = '', origin } = asked
  if (activeConsole === null || origin !== undefined) return undefined
  if ((method !== 'GET' && method !== 'HEAD') || !/\btext\/html\b/.test(accept)) return undefined
  const here = URL.parse(url, 'http://here')
  if (here === null || /^\/(api|assets)\//.test(here.pathname)) return undefined
  if (here.searchParams.has(stayHere)) return undefined
  return elsewhere(url, activeConsole)
}

/** A program that wants to change something goes on at the active, with method and body. */
export function changeAtActive(asked: Asked, activeConsole: string | null): string | undefined {
  if (activeConsole === null || asked.origin !== undefined) return undefined
  return elsewhere(asked.url, activeConsole)
}

function elsewhere(url: string, base: string): string | undefined {
  // `//other.example` would be another host.
  return url.startsWith('//') ? undefined : URL.parse(url, base)?.href
}
