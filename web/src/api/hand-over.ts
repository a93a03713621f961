/**
 * How a person who is logged in goes on at a console with another host name, whose cookies this page
 * cannot set: a code, good once and for ten minutes, travels in the fragment of the URL, which is
 * sent to no server, and is exchanged there.
 */

export interface HandOverDeps {
  /** Asks the server for a code. */
  request: () => Promise<{ code: string }>
  /** Milliseconds of the wall clock. */
  now: () => number
  /** Calls once, later; returns how to call it off. */
  later: (action: () => void, ms: number) => () => void
  /** Whether the page is in sight: one that nobody sees asks for nothing. */
  visible: () => boolean
  /** Consoles of the pair. */
  consoles: () => readonly string[]
}

export interface HandOver {
  /** Keeps a fresh code from now on: when the active has died it is too late to ask for one. */
  start(): void
  stop(): void
  /** The URL to open for going on there, with a code where it is needed and to be had. */
  linkTo(url: string): Promise<string>
}

const key = 'hand-over'
const lookMs = 15_000
const renewMs = 4 * 60_000
/** The server takes it for ten minutes. */
const goodMs = 9.5 * 60_000
/** How long going on waits for a code: without one there is the log-in page. */
const requestMs = 2000

/** @param hostname of this page */
export function createHandOver(deps: HandOverDeps, hostname: string): HandOver {
  let kept: { code: string; at: number } | undefined
  let cancel: (() => void) | undefined
  let running = false

  const isOther = (url: string) => new URL(url).hostname !== hostname
  const age = () => (kept === undefined ? Number.POSITIVE_INFINITY : deps.now() - kept.at)

  async function renew(): Promise<void> {
    const at = deps.now()
    const { code } = await deps.request()
    kept = { code, at }
  }

  async function look(): Promise<void> {
    if (deps.visible() && age() > renewMs && deps.consoles().some(isOther)) {
      await renew().catch(() => undefined)
    }
    if (running) cancel = deps.later(() => void look(), lookMs)
  }

  /** Each code is given out once. */
  async function take(): Promise<string | undefined> {
    if (age() > goodMs) {
      const late = new Promise<void>(resolve => deps.later(resolve, requestMs))
      await Promise.race([renew().catch(() => undefined), late])
    }
    const code = age() > goodMs ? undefined : kept?.code
    kept = undefined
    return code
  }

  return {
    start() {
      if (running) return
      running = true
      void look()
    },
    stop() {
      running = false
      cancel?.()
    },
    async linkTo(url) {
      if (!isOther(url)) return url
      const code = await take()
      const target = new URL(url)
      if (code !== undefined) target.hash = `${key}=${code}`
      return target.href
    },
  }
}

/** The code with which this page was opened: in the fragment of its URL. */
export function codeIn(fragment: string): string | undefined {
  return new URLSearchParams(fragment.replace(/^#/, '')).get(key) ?? undefined
}

/** The page at `location` on another console; `here`: shown by a standby too. */
export function pageAt(
  console: string,
  location: { pathname: string; search: string },
  here = false,
): string {
  const url = new URL(`${console.replace(/\/+$/, '')}${location.pathname}${location.search}`)
  url.searchParams.delete('here')
  if (here) url.searchParams.set('here', '1')
  return url.href
}
